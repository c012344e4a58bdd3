"""What a policy is: a distribution over the magnitudes of the ops of a space."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from augnet.ops.base import uniform_noise
from augnet.space import TransformSpace
from augnet.space_base import Space

Description = dict[str, dict[str, Any]]  # op -> what is learned about it, its unit and its bound

SATURATED = 0.95  # of the bound
_AT_ITS_BOUND = 40.0
_FEW = 3


class Policy(nn.Module, ABC):
    """A distribution over the magnitudes of P ops, learned or fixed; a magnitude of 0 leaves an op out.

    A policy is a function from uniform random numbers to magnitudes, and draws nothing itself. So the same function
    runs where there is no generator of torch, as in an exported graph.

    Attributes:
        kind: The name of this kind of policy in policy files.
        space_type: The spaces it is for; what every `space` below is.
        logged: The numbers of `describe` to follow over training, and the group each is logged under.
        quantity: What `shares` returns, for the axis of a plot.
    """

    kind: ClassVar[str]
    space_type: ClassVar[type[Space]] = TransformSpace
    logged: ClassVar[Mapping[str, str]] = {"half_width": "range"}
    quantity: ClassVar[str] = "half-width / bound"

    @property
    @abstractmethod
    def numbers_per_image(self) -> int:
        """U, how many uniform random numbers the magnitudes of one image take."""

    @abstractmethod
    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Magnitudes `[B, P]` in the ops' units, one row per image, for given random numbers.

        Args:
            images: `[B, C, H, W]` in [0, 1]; most policies do not look at them.
            labels: `[B]` class numbers or `[B, K]` probabilities, for policies that are conditioned on them.
            numbers: `[B, U]` independent and uniform in [0, 1); not differentiated.

        Returns:
            Magnitudes; they carry gradient to the policy where it is learned by reparametrization.
        """

    def sample(self, images: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw magnitudes `[B, P]`: `magnitudes` of fresh random numbers.

        Args:
            images: As for `magnitudes`.
            labels: As for `magnitudes`.
            generator: Source of the draws; `None` is the default generator of the images' device.
        """
        return self.magnitudes(images, labels, uniform_noise(self.numbers_per_image)(images, generator))

    @abstractmethod
    def describe(self, space: Any) -> Description:
        """What is learned, in the ops' units and rounded to six digits, for people and files; detached."""

    def shares(self, space: Any) -> dict[str, float]:
        """One number in [0, 1] for each op, for a plot over time: here the half-width as a share of the bound."""
        return {name: facts["half_width"] / facts["bound"] for name, facts in self.describe(space).items()}

    def saturated(self, space: Any) -> float:
        """Share of the strengths within 5 % of their bounds; 0 with fewer than three ops, which may belong there."""
        shares = self.shares(space).values()
        return sum(share >= SATURATED for share in shares) / len(shares) if len(shares) >= _FEW else 0.0

    def network_weights(self) -> list[nn.Parameter]:
        """Parameters that are weights of a network, which a step size for logits would upset; none by default."""
        return []

    def hold_open(self, least: float) -> None:
        """Keep every range of a table at or above this share of its bound; others have nothing to hold."""

    def widened(self, probe: float) -> AbstractContextManager[None]:
        """Inside, narrow ranges are wider; see `RangeTable.widened`. Only those of a table are."""
        return nullcontext()

    def config(self) -> dict[str, Any]:
        """What `from_config` needs besides the space; plain values, for JSON."""
        return {}

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any], space: Any) -> Self:
        """The policy that `config` describes, with fresh parameters.

        Raises:
            ValueError, TypeError, KeyError: If the values do not make a policy of this kind over this space.
        """


class BoundedPolicy(Policy):
    """Magnitudes uniform in `[-w, w]`, or in `[0, w]` for ops without negative ones, `w` at most the op's bound.

    Args:
        bounds: The largest half-width of each of the P ops, > 0, in the ops' units.
        signed: For each op, whether it has negative magnitudes.
    """

    bounds: Tensor
    lowest: Tensor

    def __init__(self, bounds: Sequence[float], signed: Sequence[bool]) -> None:
        super().__init__()
        self.register_buffer("bounds", torch.tensor(bounds, dtype=torch.float32))
        lowest = torch.tensor([-1.0 if negative else 0.0 for negative in signed])
        self.register_buffer("lowest", lowest, persistent=False)  # a fact of the ops, not learned

    @property
    def numbers_per_image(self) -> int:
        """One random number for each op."""
        return self.bounds.shape[0]

    def scatter(self, half_widths: Tensor, numbers: Tensor) -> Tensor:
        """Magnitudes `[B, P]` within the half-widths, `[P]` or `[B, P]`, to which they carry gradient.

        Args:
            half_widths: In the ops' units.
            numbers: `[B, P]`, uniform in [0, 1).
        """
        return torch.lerp(self.lowest, torch.ones_like(self.lowest), numbers.to(self.bounds)) * half_widths

    def describe_ranges(self, space: TransformSpace, half_widths: Tensor, /, **others: Tensor) -> Description:
        """The range of every op: `{name: {half_width, ..., unit, bound}}`.

        Args:
            space: The ops.
            half_widths: `[P]` in the ops' units.
            **others: Further facts in the ops' units, `[P]`, or `[P, K]` for a list each.
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


class RangeTable(BoundedPolicy):
    """Ranges that are a table of numbers, no network: each is its op's bound times the sigmoid of an entry.

    Args:
        bounds: As for `BoundedPolicy`.
        signed: As for `BoundedPolicy`.
        initial: The ranges at the start, as a fraction of the bounds, in (0, 1]. At 0 there would be no gradient: the
            loss is even in the magnitude there. 1 is the uniform policy over the whole space.
        rows: Shape of the table before the axis of the ops.

    Raises:
        ValueError: If `initial` is outside (0, 1].
    """

    _probe = 0.0

    def __init__(self, bounds: Sequence[float], signed: Sequence[bool], initial: float, *rows: int) -> None:
        super().__init__(bounds, signed)
        self.theta = nn.Parameter(start_of(initial, *rows, len(bounds)))  # 40 at 1: exactly the bounds, no gradient

    def half_widths(self) -> Tensor:
        """The table `[..., P]` in the ops' units; carries gradient to the policy."""
        share = torch.sigmoid(self.theta)
        if self._probe:
            share = share + (share.clamp(min=self._probe) - share).detach()
        return self.bounds * share

    def extent(self) -> Tensor:
        """Sum over the ops of range / bound, the mean over the rows; a scalar in (0, P] that carries gradient."""
        return torch.sigmoid(self.theta).reshape(-1, self.theta.shape[-1]).mean(dim=0).sum()

    @torch.no_grad()
    def hold_open(self, least: float) -> None:
        """Keep every range at or above this share of its bound, in [0, 1), from which it can come back."""
        self.theta.clamp_(min=math.log(least / (1 - least)) if least else -math.inf)

    @contextmanager
    def widened(self, probe: float) -> Iterator[None]:
        """Inside, a range narrower than a share of its bound is as wide as that; its gradient is handed on unchanged.

        The loss is even in the magnitude of most ops, so that its gradient vanishes with the range: from a nearly
        closed one nothing is seen of what the op would bring.

        Args:
            probe: The share, in [0, 1); 0 changes nothing.
        """
        former, self._probe = self._probe, probe
        try:
            yield
        finally:
            self._probe = former


def start_of(initial: float, *shape: int) -> Tensor:
    """What a sigmoid takes to `initial`, in a tensor of a shape; at 1 it is 40.

    The sigmoid of 40 is 1 exactly and has no gradient, in float32 and in float64, as that of infinity; but weights are
    averaged (SWA, EMA), and infinity minus itself is no number.

    Raises:
        ValueError: Unless it is a fraction of the bounds in (0, 1].
    """
    if not 0 < initial <= 1:
        raise ValueError(f"initial: expected a fraction of the bounds in (0, 1], found {initial}; 0.1 is a usual start")
    return torch.logit(torch.full(shape, initial)).clamp(max=_AT_ITS_BOUND)


def rounded(value: Any) -> Any:
    """A number, or a list of numbers, with six digits."""
    return [rounded(part) for part in value] if isinstance(value, list) else float(f"{value:.6g}")
