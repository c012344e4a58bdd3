r"""Softmax cross-entropy with soft targets, class weights, label smoothing and ignored samples.

All are of one form, with `t_ik = v_k ((1 - s) q_ik + s / K)` for targets `q`, class weights `v` and smoothing `s`:

    l_i = -sum_k t_ik log p_ik,    gradient = c_i p_i - t_i,    C_i = c_i (diag p_i - p_i p_i^T),    c_i = sum_k t_ik

An ignored sample has `t_i = 0`. torch divides the sum over a batch by `sum_i v_{y_i}`, here it is divided by the number
of samples: one factor for the whole objective.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from influence.checks import check_targets
from influence.curvature import SoftmaxCurvature
from influence.losses.base import Loss
from influence.precision import full_precision, upcast


@dataclass(frozen=True, eq=False)
class CrossEntropy(Loss):
    """Softmax cross-entropy.

    Args:
        class_weights: `v`, `[K]`, >= 0; None for 1 each.
        label_smoothing: `s`, in [0, 1).
        ignore_index: Label of samples that the loss leaves out; None for none. Targets are `[B]` int64 in [0, K), or
            `[B, K]` probabilities, whose rows are zero where a sample is left out.

    Raises:
        ValueError: If a weight is negative or not finite, or the smoothing is out of range.
    """

    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), found {self.label_smoothing}")
        weights = self.class_weights
        if weights is not None and not bool((weights.isfinite() & (weights >= 0)).all() & weights.any()):
            raise ValueError(f"expected class weights >= 0, one of them positive, found {weights.tolist()[:8]}")

    @property
    def held_out(self) -> Loss:
        """The same without smoothing: held-out images keep their hard labels."""
        return replace(self, label_smoothing=0.0)

    def expand(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Return probabilities `[B, K]`; the rows of ignored samples are 0."""
        if self.ignore_index is None:
            return check_targets(targets, logits)
        if targets.ndim == 1:
            left_out = targets == self.ignore_index
            kept = targets.masked_fill(left_out, 0)
        else:
            left_out = ~(targets != 0).any(dim=1)
            kept = targets + left_out[:, None].to(targets) / targets.shape[1]
        return check_targets(kept, logits) * ~left_out[:, None]

    def mean(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss, a scalar; with weights or ignored samples divided as torch does."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        shares = self.expand(targets, logits)
        total = shares if self.class_weights is None or targets.ndim == 2 else shares * self.class_weights.to(shares)
        return -(self._weighted(shares) * logits.log_softmax(dim=1)).sum() / total.sum()

    def gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return `c p - t`, `[B, K]`; each row sums to 0."""
        (logits,) = upcast(logits)
        with full_precision(logits):
            shares = self._weighted(self.expand(targets, logits))
            probs = logits.softmax(dim=1)
            return (probs if self._plain else shares.sum(dim=1, keepdim=True) * probs) - shares

    def slope(self, logits: Tensor, targets: Tensor, directions: Tensor) -> Tensor:
        """See `Loss.slope`; directions count relative to that of the target's class, so that nothing cancels."""
        shares = self.expand(targets, logits)
        directions = directions - directions.gather(1, shares.argmax(dim=1, keepdim=True))
        return (self.gradient(logits, shares) * directions).sum(dim=1)

    def curvature(self, logits: Tensor, targets: Tensor | None, weights: Tensor) -> SoftmaxCurvature:
        """See `Loss.curvature`; the targets count where samples have class weights or are ignored."""
        if logits.shape[1] < 2:
            raise ValueError(f"expected at least 2 classes, found {logits.shape[1]}; write a binary output as 2 logits")
        if targets is None and self.class_weights is not None:
            raise ValueError("the curvature depends on the targets where classes have weights: give them")
        if targets is not None and not self._plain:
            weights = weights * self._weighted(self.expand(targets, logits)).sum(dim=1)
        return SoftmaxCurvature(logits.softmax(dim=1), weights)

    def right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return for each sample that is not ignored whether its most probable class is the target's, `[B']`."""
        shares = self.expand(targets, logits)
        return (logits.argmax(dim=1) == shares.argmax(dim=1))[shares.any(dim=1)]

    @property
    def _plain(self) -> bool:
        """True if every `c_i` is 1."""
        return self.class_weights is None and self.ignore_index is None

    def _weighted(self, shares: Tensor) -> Tensor:
        """Return `t` for probabilities `[B, K]`."""
        classes = shares.shape[1]
        if self.label_smoothing:
            kept = shares.detach().any(dim=1, keepdim=True).to(shares)
            shares = (1 - self.label_smoothing) * shares + self.label_smoothing / classes * kept
        if self.class_weights is None:
            return shares
        if self.class_weights.shape != (classes,):
            raise ValueError(f"expected {classes} class weights, found {list(self.class_weights.shape)}")
        return shares * self.class_weights.to(shares)
