r"""Binary cross-entropy of each output on its own: one logit for two classes, or several labels an image.

With the logistic function `s`:

    l_i = 1/K sum_k v_k (a_k y_ik softplus(-z_ik) + (1 - y_ik) softplus(z_ik))
    gradient = v ((1 - y) s(z) - a y s(-z)) / K,    C = diag(v (a y + 1 - y) s(z) s(-z)) / K
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from influence.curvature import SeparateCurvature
from influence.losses.base import Loss, matrix_of
from influence.precision import upcast


@dataclass(frozen=True, eq=False)
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy with logits; targets are `[B, K]` in [0, 1], or `[B]` for one output.

    Args:
        weight: `v`, factor of the loss of each output, `[K]` or a number, >= 0; None for 1.
        pos_weight: `a`, factor of present labels, `[K]` or a number, >= 0; None for 1.

    Raises:
        ValueError: If a weight is negative, not finite, or has more than one axis.
    """

    weight: Tensor | None = None
    pos_weight: Tensor | None = None

    def __post_init__(self) -> None:
        for name, weight in (("weight", self.weight), ("pos_weight", self.pos_weight)):
            if weight is None:
                continue
            if weight.ndim > 1:
                raise ValueError(f"expected {name} as one number for each output, found shape {list(weight.shape)}")
            if not bool((weight.isfinite() & (weight >= 0)).all()):
                raise ValueError(f"expected {name} >= 0, found {weight.flatten().tolist()[:8]}")

    def expand(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Return the targets as float `[B, K]`."""
        return matrix_of(targets, logits)

    def mean(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over samples and outputs, a scalar."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weight, pos_weight = (None if part is None else part.to(logits) for part in (self.weight, self.pos_weight))
        return nn.functional.binary_cross_entropy_with_logits(
            logits, self.expand(targets, logits), weight=weight, pos_weight=pos_weight
        )

    def gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss.gradient`."""
        (logits,) = upcast(logits)
        present, absent = self._shares(self.expand(targets, logits))
        return absent * logits.sigmoid() - present * (-logits).sigmoid()

    def curvature(self, logits: Tensor, targets: Tensor | None, weights: Tensor) -> SeparateCurvature:
        """See `Loss.curvature`; the targets count where `pos_weight` is given."""
        if targets is None and self.pos_weight is not None:
            raise ValueError("the curvature depends on the targets where pos_weight is given: give them")
        targets = torch.zeros_like(logits) if targets is None else self.expand(targets, logits)
        present, absent = self._shares(targets)
        return SeparateCurvature((present + absent) * logits.sigmoid() * (-logits).sigmoid() * weights[:, None])

    def right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return which present labels are found, at a probability of 1/2; for one output which samples are right.

        Absent labels would hide a policy that destroys what images show: they are right where nothing is found.
        """
        present = self.expand(targets, logits) > 0.5
        found = logits > 0
        return (found == present).flatten() if logits.shape[1] == 1 else found[present]

    def _shares(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of the two terms of each output, `[B, K]`."""
        scale = (1.0 if self.weight is None else self.weight.to(targets)) / targets.shape[1]
        positive = 1.0 if self.pos_weight is None else self.pos_weight.to(targets)
        return scale * positive * targets, scale * (1 - targets)
