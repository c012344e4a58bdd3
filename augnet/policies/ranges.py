"""Range policies, learned tables of ranges: one for each op, an interval for each op, or a range for each op and class.

The magnitude of op p is uniform in `[-w_p, w_p]`, or in `[0, w_p]` if the op has no negative ones; the half-width
`w_p = bound_p * sigmoid(theta_p)` is learned. A draw is `w_p * u`, `u` uniform in (-1, 1) or (0, 1), so the gradient
reaches `theta` through the magnitude (reparametrization).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from augnet.encoder import class_weights
from augnet.policies.base import BoundedPolicy, Description, initial_logits
from augnet.space import TransformSpace


class RangeTable(BoundedPolicy):
    """A policy of ranges in a table of numbers: each is its op's bound times the sigmoid of an entry.

    Args:
        bounds: As for `BoundedPolicy`.
        signed: As for `BoundedPolicy`.
        initial: The initial ranges as a fraction of the bounds, in (0, 1]. At 0 the gradient would be 0, since the loss
            is even in the magnitude; at 1 the draws fill the whole space and nothing can be learned.
        rows: Shape of the table before the axis of the ops.

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    can_widen = True
    _probe = 0.0

    def __init__(self, bounds: Sequence[float], signed: Sequence[bool], initial: float, *rows: int) -> None:
        super().__init__(bounds, signed)
        self.theta = nn.Parameter(initial_logits(initial, *rows, len(bounds)))

    def half_widths(self) -> Tensor:
        """Return the table `[..., P]` in the ops' units, carrying gradient to the policy."""
        share = torch.sigmoid(self.theta)
        if self._probe:
            share = share + (share.clamp(min=self._probe) - share).detach()
        return self.bounds * share

    def extent(self) -> Tensor:
        """Return the sum over the ops of range / bound, averaged over rows; in (0, P], carrying gradient."""
        return torch.sigmoid(self.theta).reshape(-1, self.theta.shape[-1]).mean(dim=0).sum()

    def cost(self, kl: float, sparsity: float) -> Tensor | None:
        """Return `sparsity` times the extent, see `Policy.cost`."""
        return sparsity * self.extent() if sparsity else None

    @torch.no_grad()
    def clamp_half_widths(self, least: float) -> None:
        """Clamp every range to at least this share of its bound, in [0, 1), where its gradient is not 0."""
        self.theta.clamp_(min=math.log(least / (1 - least)) if least else -math.inf)

    @contextmanager
    def widened(self, probe: float) -> Iterator[None]:
        """Widen ranges below a share of their bound, in [0, 1), to that share inside the context; keep their gradient.

        The loss is even in the magnitude of most ops, so its gradient vanishes with the range; draws from a wider range
        measure the effect of an op that is nearly off. A share of 0 changes nothing.
        """
        former, self._probe = self._probe, probe
        try:
            yield
        finally:
            self._probe = former


class RangePolicy(RangeTable):
    """One learned half-width per op, shared by all images; every image has its own draw.

    Args:
        bounds: The largest half-width of each of the P ops, > 0, in the ops' units.
        initial: Initial half-widths as a fraction of the bounds, in (0, 1]; see `RangeTable`.
        signed: For each op, True if it has negative magnitudes; by default all have.

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    kind = "range"

    def __init__(self, bounds: Sequence[float], initial: float = 0.1, signed: Sequence[bool] | None = None) -> None:
        super().__init__(bounds, signed or [True] * len(bounds), initial)

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]`, carrying gradient to the policy; images and labels are not used."""
        return self.scatter(self.half_widths(), numbers)

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """Return the range of every op, `{name: {half_width, unit, bound}}`."""
        return self.describe_ranges(space, self.half_widths())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Build a policy over the space; the config has no entries."""
        return cls(space.bounds, signed=space.signed)


class IntervalPolicy(RangeTable):
    """Two learned ends per op, one on each side of the identity, shared by all images.

    The magnitude of op p is uniform in `[-a_p, b_p]`, or in `[0, b_p]` if the op has no negative ones. It can represent
    test images that are always brighter and never darker, where half of the draws of a symmetric `RangePolicy` would be
    wrong.

    Args:
        space: The ops.
        initial: Initial distance of both ends from 0 as a fraction of the bounds, in (0, 1].

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    kind = "interval"
    logged: ClassVar[Mapping[str, str]] = {"half_width": "range", "lowest": "lowest", "highest": "highest"}
    quantity = "farther end / bound"

    def __init__(self, space: TransformSpace, initial: float = 0.1) -> None:
        super().__init__(space.bounds, space.signed, initial, 2)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return the lowest and highest magnitudes, both `[P]` in the ops' units, carrying gradient to the policy."""
        lower, upper = self.half_widths()
        return lower * self.lowest, upper

    def extent(self) -> Tensor:
        """Return the sum over the ops of the interval's length / its largest value, carrying gradient."""
        lowest, highest = self.ends()
        return ((highest - lowest) / (self.bounds * (1 - self.lowest))).sum()

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]`, carrying gradient to the policy; images and labels are not used."""
        lowest, highest = self.ends()
        return lowest + (highest - lowest) * numbers.to(highest)

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """Return for each op `lowest` and `highest`, and `half_width`: the length, halved if the op has a sign."""
        lowest, highest = self.ends()
        return self.describe_ranges(space, (highest - lowest) / (1 - self.lowest), lowest=lowest, highest=highest)

    def shares(self, space: TransformSpace) -> dict[str, float]:
        """Return the larger distance of an end of each op from 0 as a share of the op's bound."""
        facts = self.describe(space)
        return {op: max(-found["lowest"], found["highest"]) / found["bound"] for op, found in facts.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Build a policy over the space; the config has no entries."""
        return cls(space)


class ClassConditionalPolicy(RangeTable):
    """A range for each op and class.

    The random numbers of an image do not depend on its class, so learning for one class changes no draw of another.

    Args:
        space: The ops.
        num_classes: K.
        initial: Initial half-widths as a fraction of the bounds, in (0, 1].

    Raises:
        ValueError: If an argument is out of range.
    """

    kind = "class_conditional"

    def __init__(self, space: TransformSpace, num_classes: int, initial: float = 0.1) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: expected at least 1, found {num_classes}")
        super().__init__(space.bounds, space.signed, initial, num_classes)
        self.num_classes = num_classes

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]`; the range of a mixed label `[B, K]` is the weighted mean of those of the classes.

        Raises:
            ValueError: If there are no labels, or labels of other classes.
        """
        weights = class_weights(labels, self.num_classes).to(self.theta)
        return self.scatter(weights @ self.half_widths(), numbers)

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """Return for each op `half_width`, the mean over the classes, and `half_widths`, one for each class."""
        table = self.half_widths()
        return self.describe_ranges(space, table.mean(dim=0), half_widths=table.T)

    def config(self) -> dict[str, Any]:
        """Return the number of classes."""
        return {"num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Build the policy of a config, see `Policy.from_config`."""
        return cls(space, config["num_classes"])
