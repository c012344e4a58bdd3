"""Numbers of augmented samples that estimates need. `docs/method.md`, "Moments".

    mean of a number      n >= z^2 Var / (eps E)^2          central limit theorem, z of the confidence
                          n >= Var / (alpha (eps E)^2)      Chebyshev, for every distribution
    mean image            n >= tr Sigma / (eps ||mu||)^2    expected squared error
    covariance            n ~ r log D / eps^2               order only; r = tr Sigma / largest eigenvalue

Balestriero, Misra and LeCun (2022) report tens of thousands; their formula is not published.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from .factored import Moments
from .weighted_views import Distribution

Bound = Literal["clt", "chebyshev"]


@dataclass(frozen=True)
class TargetPrecision:
    """Required precision of an estimate: a relative error, > 0, at a confidence in (0, 1)."""

    error: float = 0.01
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not (self.error > 0 and 0 < self.confidence < 1):
            raise ValueError(
                f"error must be positive and confidence in (0, 1), found {self.error} and {self.confidence}."
            )


def samples_for_mean(number: Distribution, precision: TargetPrecision, bound: Bound = "clt") -> int | None:
    """Return how many draws have a mean of a required precision.

    The bound `chebyshev` needs no normal distribution, and more draws.

    Returns:
        At least 1; None if the expectation is 0 and the number varies: no count is enough.

    Example:
        >>> samples_for_mean(Distribution(1.0, 0.25), TargetPrecision(error=0.01))
        9604
    """
    confidence = precision.confidence
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2 if bound == "clt" else 1 / (1 - confidence)
    return _count(square * number.variance, (precision.error * number.mean) ** 2)


def samples_for_image(moments: Moments, precision: TargetPrecision) -> int | None:
    """Return how many draws have a mean image within a relative error `||mean - mu|| / ||mu||`, root mean square.

    Returns:
        At least 1; None if the mean image is black and the image varies.
    """
    return _count(float(moments.trace), precision.error**2 * float(moments.mean.square().sum()))


def samples_for_covariance(moments: Moments, precision: TargetPrecision) -> int:
    """Return the order of the draws whose covariance has this relative error in spectral norm.

    The constant is taken as 1, so it is an order of magnitude, not a bound.
    """
    return max(1, math.ceil(moments.effective_rank() * math.log(moments.mean.numel()) / precision.error**2))


def _count(above: float, below: float) -> int | None:
    if above == 0:
        return 1
    return max(1, math.ceil(above / below)) if below > 0 else None
