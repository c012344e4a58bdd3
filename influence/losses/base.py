"""What the influence asks of a training loss."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from influence.curvature import Curvature


class Loss(ABC):
    """A mean over the samples of a loss of their logits `[B, K]` and targets, with derivatives in the logits.

    Targets have the form in which the loss takes them; `expand` gives them one form for all batches.
    """

    @abstractmethod
    def expand(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Check targets, and return them in the form in which they are kept, `[B, ...]`; twice is once.

        Raises:
            TypeError: If they are of another type.
            ValueError: If they do not match the logits `[B, K]`, or are out of range.
        """

    @abstractmethod
    def mean(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss, a scalar."""

    @abstractmethod
    def gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the derivative `[B, K]` of each sample's loss in its logits; carries gradient to both."""

    @abstractmethod
    def curvature(self, logits: Tensor, targets: Tensor | None, weights: Tensor) -> Curvature:
        """Return the weighted second derivatives; `None` as targets where they do not depend on them.

        Args:
            logits: `[N, K]`.
            targets: Of the same rows.
            weights: `[N]`, >= 0.
        """

    @abstractmethod
    def right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return which decisions at these logits are right, a boolean vector: one a sample, or one a label present."""

    @property
    def held_out(self) -> "Loss":
        """The loss by which held-out images are judged: without label smoothing."""
        return self

    def check(self, logits: Tensor, targets: Tensor) -> None:
        """Raise ValueError unless the loss can be followed at logits `[B, K]`: it has a gradient and a curvature."""
        self.gradient(logits, targets)
        self.curvature(logits, targets, torch.ones_like(logits[:, 0]))

    def slope(self, logits: Tensor, targets: Tensor, directions: Tensor) -> Tensor:
        """Return the derivative `[B]` of each loss as its logits move along `directions` `[B, K]`."""
        return (self.gradient(logits, targets) * directions).sum(dim=1)


def matrix_of(targets: Tensor, logits: Tensor) -> Tensor:
    """Return float targets `[B, K]`, or `[B]` for one output, in the type of the logits.

    Raises:
        ValueError: If shapes do not match, or a value is not in [0, 1].
    """
    if targets.ndim == 1 and logits.shape[1] == 1:
        targets = targets[:, None]
    if targets.shape != logits.shape:
        raise ValueError(
            f"expected targets {list(logits.shape)} between 0 and 1, one for each output, found "
            f"{list(targets.shape)} of {targets.dtype}; class numbers [B] belong to cross-entropy"
        )
    targets = targets.to(torch.promote_types(logits.dtype, torch.float32))
    if not bool(((targets.detach() >= 0) & (targets.detach() <= 1)).all()):
        raise ValueError("expected targets between 0 and 1, found other values; 1 says that a label is present")
    return targets
