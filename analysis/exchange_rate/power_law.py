"""Accuracy against the number of training images: the power law `f(x) = a x^-c + b`, its fit and its inverse.

Geiping et al., 2023 ("How Much Data Are Augmentations Worth?"), section 3. For an accuracy `a <= 0`: it rises from
below towards `b`, the accuracy of unlimited data.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]

_EXPONENTS = (1e-3, 8.0)  # c of learning curves is about 0.1 to 1
_STARTS = np.geomspace(*_EXPONENTS, 33)


@dataclass(frozen=True)
class PowerLaw:
    """`f(x) = a x^-c + b`.

    Attributes:
        a: Minus the accuracy that one image falls short of `b`, <= 0.
        c: Exponent, > 0.
        b: Accuracy of unlimited data, <= 1.
    """

    a: float
    c: float
    b: float

    def __post_init__(self) -> None:
        if not (self.a <= 0 and self.c > 0 and self.b <= 1):
            raise ValueError(f"expected a <= 0, c > 0 and b <= 1, found a={self.a}, c={self.c}, b={self.b}.")

    def accuracy(self, sizes: ArrayLike) -> Array:
        """The accuracy of `sizes` images, of their shape.

        Args:
            sizes: Numbers of training images, > 0.
        """
        x = np.asarray(sizes, dtype=np.float64)
        return self.a * x**-self.c + self.b

    def size(self, accuracy: float) -> float:
        """The inverse, `((y - b) / a)^(-1/c)`: how many images reach an accuracy.

        Args:
            accuracy: y.

        Returns:
            Images, > 0; infinite for `y >= b`, which no number of images reaches. On a flat curve (`a = 0`) anything
            below `b` needs none, 0.

        Example:
            >>> round(PowerLaw(-2.0, 0.5, 0.9).size(0.7), 6)
            100.0
        """
        if accuracy >= self.b:
            return math.inf
        if self.a == 0:
            return 0.0
        exponent = -math.log((accuracy - self.b) / self.a) / self.c
        return math.exp(exponent) if exponent < 700 else math.inf  # more than a float can hold


@dataclass(frozen=True)
class Fit:
    """A power law through measured accuracies.

    Attributes:
        law: The law.
        residual: Root mean square distance of the points from it, in accuracy.
    """

    law: PowerLaw
    residual: float


def fit_power_law(sizes: ArrayLike, accuracies: ArrayLike) -> Fit:
    """Fit `a x^-c + b` by least squares under `a <= 0`, `c > 0` (between 0.001 and 8) and `b <= 1`.

    For a fixed exponent the law is linear in `(a, b)` and its constrained optimum is known in closed form: the best of
    33 exponents starts scipy's trust region. `a <= 0` is this project's: the paper has `c > 0` and `b <= 1` alone,
    which lets noise turn a curve over.

    Args:
        sizes: `[n]` numbers of training images, > 0, at least three different ones.
        accuracies: `[n]` accuracies in [0, 1].

    Returns:
        The law and how far the points are from it.

    Raises:
        ValueError: If there are fewer than three sizes, or an input is out of range.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (sizes, accuracies))
    _check(x, y)
    scale = float(np.exp(np.log(x).mean()))
    u = x / scale  # at the middle of the points `a` and `b` are of one order
    c = min(_STARTS, key=lambda start: _linear(u**-start, y)[2])
    a, b, _ = _linear(u**-c, y)

    def residuals(parameters: Array) -> Array:
        distances: Array = parameters[0] * u ** -parameters[1] + parameters[2] - y
        return distances

    def jacobian(parameters: Array) -> Array:
        power = u ** -parameters[1]
        return np.stack([power, -parameters[0] * power * np.log(u), np.ones_like(u)], axis=1)

    lower, upper = [-np.inf, _EXPONENTS[0], -np.inf], [0.0, _EXPONENTS[1], 1.0]
    start = np.clip([min(a, -1e-9), c, min(b, 1 - 1e-9)], lower, upper)
    found = least_squares(
        residuals, start, jacobian, bounds=(lower, upper), x_scale="jac", ftol=1e-14, xtol=1e-14, gtol=1e-14
    )
    closed = np.array([a, c, b])  # on a bound the trust region only comes near
    best = min((found.x, closed), key=lambda parameters: float((residuals(parameters) ** 2).sum()))
    law = PowerLaw(float(best[0] * scale ** best[1]), float(best[1]), float(best[2]))
    return Fit(law, float(np.sqrt((residuals(best) ** 2).mean())))


def _linear(power: Array, y: Array) -> tuple[float, float, float]:
    """The best `(a, b)` of `a power + b` with `a <= 0` and `b <= 1`, and its sum of squares.

    The problem is convex: the optimum is the free one, or lies on one bound or on both.
    """
    centred = power - power.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread if spread > 0 else 0.0
    candidates = [
        (slope, float(y.mean() - slope * power.mean())),
        (float(power @ (y - 1)) / float(power @ power), 1.0),
        (0.0, min(float(y.mean()), 1.0)),
    ]
    allowed = [(a, b) for a, b in candidates if a <= 0 and b <= 1]
    scored = [(a, b, float(((a * power + b - y) ** 2).sum())) for a, b in allowed]
    return min(scored, key=lambda candidate: candidate[2])


def _check(x: Array, y: Array) -> None:
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected sizes and accuracies [n] of one length, found {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and (x > 0).all()):
        raise ValueError(f"sizes must be positive, found {x.tolist()}.")
    if not ((y >= 0) & (y <= 1)).all():
        raise ValueError(f"accuracies must lie in [0, 1], found {y.tolist()}; divide percentages by 100.")
    if len(np.unique(x)) < 3:
        raise ValueError(f"a power law has three numbers: give at least three sizes, found {np.unique(x).tolist()}.")
