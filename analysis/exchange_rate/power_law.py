"""Accuracy against the number of training images: the power law `f(x) = a x^-c + b`, its fit and its inverse.

Geiping et al., 2023 ("How Much Data Are Augmentations Worth?"), section 3. For an accuracy `a <= 0`: it rises from
below towards `b`, the accuracy of unlimited data.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

Array = NDArray[np.float64]

_EXPONENTS = np.geomspace(1e-3, 8.0, 33)  # c of learning curves is about 0.1 to 1


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
        """Return the accuracy of `sizes` images, > 0, of their shape."""
        x = np.asarray(sizes, dtype=np.float64)
        return self.a * x**-self.c + self.b

    def size(self, accuracy: float) -> float:
        """Return the inverse, `((y - b) / a)^(-1/c)`: the number of images that reach an accuracy.

        Infinite for `y >= b`, which no number of images reaches. On a flat curve (`a = 0`) anything below `b` needs
        none, 0.

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
    """A power law through measured accuracies, and the root mean square distance of the points from it."""

    law: PowerLaw
    residual: float


def fit_power_law(sizes: ArrayLike, accuracies: ArrayLike) -> Fit:
    """Fit `a x^-c + b` by least squares under `a <= 0`, `c > 0` (between 0.001 and 8) and `b <= 1`.

    For a fixed exponent the law is linear in `(a, b)`, and its constrained optimum is known in closed form. What is
    left is a search over the exponent alone: the best of 33, then Brent's method between its neighbours. `a <= 0` is
    an addition of this project: under the bounds of the paper, `c > 0` and `b <= 1`, noise can make a curve fall.

    Args:
        sizes: `[n]` numbers of training images, > 0, at least three different ones.
        accuracies: `[n]` accuracies in [0, 1].

    Raises:
        ValueError: If there are fewer than three sizes, or an input is out of range.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (sizes, accuracies))
    _check(x, y)
    scale = float(np.exp(np.log(x).mean()))
    u = x / scale  # at the middle of the points `a` and `b` are of one order
    sums = _best_line(u ** -_EXPONENTS[:, None], y)[2]
    best = int(np.argmin(sums))
    between = np.log([_EXPONENTS[max(best - 1, 0)], _EXPONENTS[min(best + 1, len(_EXPONENTS) - 1)]])
    found = minimize_scalar(
        lambda log_c: float(_best_line(u ** -math.exp(log_c), y)[2]),
        bounds=between,
        method="bounded",
        options={"xatol": 1e-10},
    )
    c = float(_EXPONENTS[best] if sums[best] <= found.fun else math.exp(found.x))
    a, b, squares = (float(value) for value in _best_line(u**-c, y))
    return Fit(PowerLaw(a * scale**c, c, b), math.sqrt(squares / len(y)))


def _best_line(power: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return the best `a power + b` under `a <= 0` and `b <= 1`: a, b and the sum of squares.

    The problem is convex: the optimum is the free one, or lies on one bound or on both. `power` is `[..., n]`.
    """
    centered = power - power.mean(axis=-1, keepdims=True)
    free_a = centered @ y / np.maximum((centered**2).sum(axis=-1), 1e-300)
    free_b = y.mean() - free_a * power.mean(axis=-1)
    a = np.stack([free_a, power @ (y - 1) / (power**2).sum(axis=-1), np.zeros_like(free_a)])
    b = np.stack([free_b, np.ones_like(free_b), np.full_like(free_b, min(y.mean(), 1.0))])
    squares = ((a[..., None] * power + b[..., None] - y) ** 2).sum(axis=-1)
    best = np.where((a <= 0) & (b <= 1), squares, np.inf).argmin(axis=0)[None]
    found_a, found_b, found = (np.take_along_axis(values, best, axis=0)[0] for values in (a, b, squares))
    return found_a, found_b, found


def _check(x: Array, y: Array) -> None:
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected sizes and accuracies [n] of one length, found {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and (x > 0).all()):
        raise ValueError(f"sizes must be positive, found {x.tolist()}.")
    if not ((y >= 0) & (y <= 1)).all():
        raise ValueError(f"accuracies must lie in [0, 1], found {y.tolist()}; divide percentages by 100.")
    if len(np.unique(x)) < 3:
        raise ValueError(f"a power law has three numbers: give at least three sizes, found {np.unique(x).tolist()}.")
