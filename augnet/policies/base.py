"""Base classes of policies, the distributions over the magnitudes of the ops of a space."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from augnet.ops.base import uniform_noise
from augnet.space import TransformSpace
from augnet.space_base import Space

Description = dict[str, dict[str, Any]]  # op -> what is learned about it, its unit and its bound

SATURATED = 0.95  # share of the bound from which a strength counts as saturated
_LOGIT_OF_ONE = 40.0
_MIN_OPS = 3  # number of ops from which saturation is reported


class Policy(nn.Module, ABC):
    """A distribution over the magnitudes of P ops; a magnitude of 0 is the identity.

    A policy is a deterministic function from uniform random numbers to magnitudes, so that it also runs without a
    generator of torch, as in an exported graph.

    Attributes:
        kind: Name of this kind of policy in policy files.
        space_type: Class of the spaces it supports, the type of every `space` below.
        logged: Facts of `describe` that are logged during training -> the group of their metric keys.
        quantity: Label of the numbers of `shares`, for the axis of a plot.
        learns_from_choices: True if it is learned by the score function, from `log_prob` of the result of `choose`.
        can_widen: True if `widened` has an effect.
        in_channels: Channels of the images that it needs; 0 for any.
        num_classes: Number of classes of the labels that it needs; 0 for none.
    """

    kind: ClassVar[str]
    space_type: ClassVar[type[Space]] = TransformSpace
    logged: ClassVar[Mapping[str, str]] = {"half_width": "range"}
    quantity: ClassVar[str] = "half-width / bound"
    learns_from_choices: ClassVar[bool] = False
    can_widen: ClassVar[bool] = False
    in_channels: int = 0
    num_classes: int = 0

    @property
    @abstractmethod
    def numbers_per_image(self) -> int:
        """U, the number of uniform random numbers for the magnitudes of one image."""

    @abstractmethod
    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]` in the ops' units, one row per image, for given random numbers.

        Args:
            images: `[B, C, H, W]` in [0, 1]; only conditional policies use the pixels.
            labels: `[B]` class numbers or `[B, K]` probabilities, for policies that are conditioned on them.
            numbers: `[B, U]` independent and uniform in [0, 1); not differentiated.

        Returns:
            Magnitudes, carrying gradient to policies that are learned by reparametrization.
        """

    def sample(self, images: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw magnitudes `[B, P]`, those of new random numbers; the default generator is torch's."""
        return self.magnitudes(images, labels, uniform_noise(self.numbers_per_image)(images, generator))

    @abstractmethod
    def describe(self, space: Any) -> Description:
        """Return the learned numbers of each op in its unit, rounded to six digits; detached."""

    def shares(self, space: Any) -> dict[str, float]:
        """Return one number in [0, 1] for each op, for plots; by default the half-width as a share of the bound."""
        return {name: facts["half_width"] / facts["bound"] for name, facts in self.describe(space).items()}

    def saturated(self, space: Any) -> float:
        """Return the share of the strengths within 5 % of their bounds; 0 for fewer than three ops."""
        shares = self.shares(space).values()
        return sum(share >= SATURATED for share in shares) / len(shares) if len(shares) >= _MIN_OPS else 0.0

    def network_weights(self) -> list[nn.Parameter]:
        """Return the weights of networks, which need a smaller learning rate than logits; none by default."""
        return []

    def cost(self, kl: float, sparsity: float) -> Tensor | None:
        """Return the cost of the policy itself, a scalar with gradient; None where nothing of it is weighted.

        Args:
            kl: Weight of the divergence of a mixture from its prior.
            sparsity: Weight of the extent of learned ranges, each as a share of its bound.
        """
        return None

    def clamp_half_widths(self, least: float) -> None:
        """Clamp the ranges, see `RangeTable.clamp_half_widths`; nothing for policies that are no table of ranges."""

    def widened(self, probe: float) -> AbstractContextManager[None]:
        """Widen narrow ranges, see `RangeTable.widened`; nothing for policies that are no table of ranges."""
        return nullcontext()

    def config(self) -> dict[str, Any]:
        """Return the arguments of `from_config` besides the space, as plain values for JSON."""
        return {}

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any], space: Any) -> Self:
        """Build the policy of a `config` with new parameters.

        Raises:
            ValueError, TypeError, KeyError: If the values do not make a policy of this kind over this space.
        """


class BoundedPolicy(Policy):
    """A policy of magnitudes uniform in `[-w, w]`, or `[0, w]` for ops without sign, `w` at most the op's bound.

    Args:
        bounds: The largest half-width of each of the P ops, > 0, in the ops' units.
        signed: For each op, True if it has negative magnitudes.
    """

    bounds: Tensor
    lowest: Tensor

    def __init__(self, bounds: Sequence[float], signed: Sequence[bool]) -> None:
        super().__init__()
        self.register_buffer("bounds", torch.tensor(bounds, dtype=torch.float32))
        lowest = torch.tensor([-1.0 if negative else 0.0 for negative in signed])
        self.register_buffer("lowest", lowest, persistent=False)  # given by the ops, not learned

    @property
    def numbers_per_image(self) -> int:
        """P, one random number for each op."""
        return self.bounds.shape[0]

    def scatter(self, half_widths: Tensor, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]` of numbers `[B, P]`, uniform in [0, 1); they carry gradient to the half-widths.

        Both are in the ops' units; half-widths are `[P]` or `[B, P]`.
        """
        return torch.lerp(self.lowest, torch.ones_like(self.lowest), numbers.to(self.bounds)) * half_widths

    def describe_ranges(self, space: TransformSpace, half_widths: Tensor, /, **others: Tensor) -> Description:
        """Return the range of every op, `{name: {half_width, ..., unit, bound}}`.

        Half-widths `[P]` and further facts, `[P]` or `[P, K]` for a list each, are in the ops' units.
        """
        columns = {"half_width": half_widths, **others}
        return {
            op.name: {
                **{fact: rounded(values[index].tolist()) for fact, values in columns.items()},
                "unit": op.unit,
                "bound": rounded(bound),
            }
            for index, (op, bound) in enumerate(zip(space.ops, self.bounds.tolist(), strict=True))
        }


def initial_logits(initial: float, *shape: int) -> Tensor:
    """Return the logits of a fraction `initial` in the given shape; 40 for 1.

    The sigmoid of 40 is exactly 1 with no gradient, in float32 and float64, like that of infinity, which would become
    NaN when weights are averaged (SWA, EMA).

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """
    if not 0 < initial <= 1:
        raise ValueError(f"initial: expected a fraction of the bounds in (0, 1], found {initial}; 0.1 is a usual start")
    return torch.logit(torch.full(shape, initial)).clamp(max=_LOGIT_OF_ONE)


def rounded(value: Any) -> Any:
    """Round a number, or the numbers of a list, to six significant digits."""
    return [rounded(part) for part in value] if isinstance(value, list) else float(f"{value:.6g}")
