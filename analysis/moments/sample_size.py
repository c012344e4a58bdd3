"""Numbers of augmented samples that estimates need. `docs/method.md`, "Moments".

    mean of a number      n >= z^2 Var / (eps E)^2          central limit theorem, z of the confidence
                          n >= Var / (alpha (eps E)^2)      Chebyshev, for every distribution
    mean image            n >= tr Sigma / (eps ||mu||)^2    expected squared error
    covariance            n ~ r log D / eps^2               order only; r = tr Sigma / largest eigenvalue

Balestriero, Misra and LeCun (2022) report tens of thousands; their formula is not published.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from .factored import Moments
from .weighted_views import Distribution

Bound = Literal["clt", "chebyshev"]


def samples_for_mean(
    number: Distribution, error: float = 0.01, confidence: float = 0.95, bound: Bound = "clt"
) -> int | None:
    """Return how many draws have a mean within a relative error, > 0, of the expectation, with a confidence in (0, 1).

    The bound `chebyshev` needs no normal distribution, and more draws.

    Returns:
        At least 1; None if the expectation is 0 and the number varies: no count is enough.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> samples_for_mean(Distribution(1.0, 0.25), error=0.01)
        9604
    """
    _check(error)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), found {confidence}; 0.95 is usual.")
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2 if bound == "clt" else 1 / (1 - confidence)
    return _count(square * number.variance, (error * number.mean) ** 2)


def samples_for_image(moments: Moments, error: float = 0.01) -> int | None:
    """Return how many draws have a mean image within a relative error `||mean - mu|| / ||mu||`, root mean square.

    Returns:
        At least 1; None if the mean image is black and the image varies.
    """
    _check(error)
    return _count(float(moments.trace), error**2 * float(moments.mean.square().sum()))


def samples_for_covariance(moments: Moments, error: float = 0.01) -> int:
    """Return the order of the draws whose covariance has this relative error in spectral norm.

    The constant is taken as 1, so it is an order of magnitude, not a bound.
    """
    _check(error)
    return max(1, math.ceil(moments.effective_rank() * math.log(moments.mean.numel()) / error**2))


def _check(error: float) -> None:
    if not error > 0:
        raise ValueError(f"error must be positive, found {error}; 0.01 is one percent.")


def _count(above: float, below: float) -> int | None:
    if above == 0:
        return 1
    return max(1, math.ceil(above / below)) if below > 0 else None
