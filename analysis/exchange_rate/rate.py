"""The exchange rate: the number of extra real images that the unaugmented model needs (Geiping et al., 2023, eq. 1).

`v(x) = f_ref^-1(f_aug(x)) - x`, with both curves fitted by power laws. It is infinite if the augmented accuracy
exceeds the limit of the reference curve, and negative if augmentation hurts.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from statistics import fmean
from typing import Any

import numpy as np

from .learning_curve import LearningCurve
from .power_law import Array, PowerLaw, fit_power_law

_DRAWS = 1000


@dataclass(frozen=True)
class Rate:
    """The exchange rate at one number of images.

    Attributes:
        size: x, images that the augmented model is trained with.
        value: v(x) in images, infinite if no number of images is enough.
        low: Lower end of its interval; None with a single seed.
        high: Upper end, may be infinite; None with a single seed.
        extrapolated: Whether `f_aug(x)` lies above the largest measured accuracy of the reference, so that the value
            rests on an extrapolation of the reference curve.
        interpolated: The same without power laws: the size at which straight lines (in log x) between the measured
            means of the reference first reach the measured mean of the augmented model, minus x. None outside of the
            measured range.
    """

    size: int
    value: float
    low: float | None
    high: float | None
    extrapolated: bool
    interpolated: float | None


def exchange_rate(reference: PowerLaw, augmented: PowerLaw, size: float) -> float:
    """Return `v(x) = f_ref^-1(f_aug(x)) - x` in images; infinite if the reference never reaches the accuracy.

    Example:
        >>> reference, augmented = PowerLaw(-2.0, 0.5, 0.9), PowerLaw(-1.0, 0.5, 0.9)
        >>> round(exchange_rate(reference, augmented, 100), 6)
        300.0
    """
    return reference.size(float(augmented.accuracy(size))) - size


def bootstrap_laws(
    reference: LearningCurve, augmented: LearningCurve, draws: int = _DRAWS, seed: int = 0
) -> list[tuple[PowerLaw, PowerLaw]]:
    """Fit both curves to resampled seeds.

    At each size the seeds are drawn with replacement, the same ones for both curves where they have that size: runs
    of one size and seed share data and initial weights, runs of different sizes share nothing. A mean of
    R draws spreads too little by the factor sqrt((R - 1) / R); the deviations are stretched by its inverse.

    Returns:
        `draws` pairs (reference, augmented); empty with a single seed.

    Raises:
        ValueError: If the curves have different numbers of seeds.
    """
    if reference.seeds != augmented.seeds:
        raise ValueError(f"expected the same seeds in both curves, found {reference.seeds} and {augmented.seeds}.")
    if reference.seeds == 1:
        return []
    generator = np.random.default_rng(seed)
    count = reference.seeds
    sizes = sorted({*reference.sizes, *augmented.sizes})
    laws = []
    for _ in range(draws):
        rows = dict(zip(sizes, generator.integers(count, size=(len(sizes), count)), strict=True))
        laws.append((_resampled(reference, rows), _resampled(augmented, rows)))
    return laws


def exchange_rates(
    reference: LearningCurve, augmented: LearningCurve, confidence: float = 0.95, draws: int = _DRAWS, seed: int = 0
) -> list[Rate]:
    """Return the exchange rate at every size of the augmented curve, with bootstrap intervals over the seeds.

    The curves, without and with augmentation, have as many seeds. The intervals are percentiles of `draws` resampled
    rates at a confidence in (0, 1). They hold the noise of the runs, not the error of the power law: see `lack_of_fit`
    of the curves, and compare with `interpolated`.

    Raises:
        ValueError: If a curve has fewer than three sizes, the numbers of seeds differ, or `confidence` is out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), found {confidence}; 0.95 is usual.")
    f_ref, f_aug = reference.fit().law, augmented.fit().law
    largest = float(reference.means().max())
    laws = bootstrap_laws(reference, augmented, draws, seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    rates = []
    for size in augmented.sizes:
        low, high = None, None
        if laws:
            resampled = [exchange_rate(*pair, size) for pair in laws]
            # a quantile that is one of the values: interpolation between a number and infinity is undefined
            low, high = (float(end) for end in np.quantile(resampled, tails, method="inverted_cdf"))
        above = float(f_aug.accuracy(size)) > largest
        reached = reference.interpolated_size(fmean(augmented.accuracies[size]))
        interpolated = None if reached is None else reached - size
        rates.append(Rate(size, exchange_rate(f_ref, f_aug, size), low, high, above, interpolated))
    return rates


def summarize_worth(
    curves: Mapping[str, LearningCurve], reference: str, confidence: float = 0.95, draws: int = _DRAWS
) -> dict[str, Any]:
    """Return curves, fits and exchange rates as plain values, for files, tables and figures; see `exchange_rates`.

    Returns:
        `curves` by policy, and `rates` by policy but the reference. Infinite numbers are None, with `infinite`,
        `low_infinite` or `high_infinite` true.
    """
    return {
        "curves": {name: _curve_facts(curve) for name, curve in curves.items()},
        "rates": {
            name: [_rate_facts(rate) for rate in exchange_rates(curves[reference], curve, confidence, draws)]
            for name, curve in curves.items()
            if name != reference
        },
    }


def _resampled(curve: LearningCurve, rows: Mapping[int, Array]) -> PowerLaw:
    means = []
    for size, values in zip(curve.sizes, curve.values(), strict=True):
        deviation = float(values[rows[size]].mean() - values.mean())
        means.append(values.mean() + deviation * math.sqrt(curve.seeds / (curve.seeds - 1)))
    return _fitted(tuple(curve.sizes), tuple(np.clip(means, 0, 1).tolist()))


@lru_cache(maxsize=4096)  # several policies are compared with the same resamples of one reference
def _fitted(sizes: tuple[int, ...], accuracies: tuple[float, ...]) -> PowerLaw:
    return fit_power_law(sizes, accuracies).law


def _curve_facts(curve: LearningCurve) -> dict[str, Any]:
    fit = curve.fit()
    return {
        "sizes": curve.sizes,
        "accuracies": curve.values().tolist(),
        "fit": asdict(fit.law),
        "residual": fit.residual,
        "lack_of_fit": curve.lack_of_fit(),
    }


def _rate_facts(rate: Rate) -> dict[str, Any]:
    facts = asdict(rate)
    for name, flag in (("value", "infinite"), ("low", "low_infinite"), ("high", "high_infinite")):
        infinite = facts[name] is not None and math.isinf(facts[name])
        facts |= {flag: infinite, name: None if infinite else facts[name]}
    return facts
