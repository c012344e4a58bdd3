"""The exchange rate: how many more real images the unaugmented model would need (Geiping et al., 2023, eq. 1).

`v(x) = f_ref^-1(f_aug(x)) - x`, with both curves fitted by power laws. It is infinite where the augmented accuracy
lies above what the reference curve can reach, and negative where augmentation hurts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.exchange_rate.power_law import Array, Fit, PowerLaw, fit_power_law

_DRAWS = 1000


@dataclass(frozen=True)
class LearningCurve:
    """Measured accuracies of one policy.

    Attributes:
        accuracies: Number of training images -> the accuracy in [0, 1] of each seed, in the order of the seeds; as
            many seeds at every size.
    """

    accuracies: Mapping[int, Sequence[float]]

    def __post_init__(self) -> None:
        counts = {len(values) for values in self.accuracies.values()}
        if len(counts) != 1 or counts == {0}:
            raise ValueError(f"expected as many seeds at every size, at least one, found {sorted(counts)}.")

    @property
    def sizes(self) -> list[int]:
        """The measured sizes, in increasing order."""
        return sorted(self.accuracies)

    @property
    def seeds(self) -> int:
        """Number of seeds, R."""
        return len(next(iter(self.accuracies.values())))

    def values(self) -> Array:
        """The accuracies `[n, R]`, a row for each of `sizes`."""
        return np.array([self.accuracies[size] for size in self.sizes], dtype=np.float64)

    def fit(self) -> Fit:
        """The power law through the means over the seeds; the residual is that of the means."""
        return fit_power_law(self.sizes, self.values().mean(axis=1))


@dataclass(frozen=True)
class Rate:
    """The exchange rate at one number of images.

    Attributes:
        size: x, images that the augmented model is trained with.
        value: v(x) in images, infinite where no number of images would do.
        low: Lower end of its interval; None with a single seed.
        high: Upper end, may be infinite; None with a single seed.
        extrapolated: Whether `f_aug(x)` lies above the largest measured accuracy of the reference, so that the value
            rests on how the reference curve goes on where nobody has looked.
    """

    size: int
    value: float
    low: float | None
    high: float | None
    extrapolated: bool


def exchange_rate(reference: PowerLaw, augmented: PowerLaw, size: float) -> float:
    """`v(x) = f_ref^-1(f_aug(x)) - x` in images; infinite if the reference never gets there.

    Args:
        reference: The curve without augmentation.
        augmented: The curve with it.
        size: x, > 0.

    Example:
        >>> reference, augmented = PowerLaw(-2.0, 0.5, 0.9), PowerLaw(-1.0, 0.5, 0.9)
        >>> round(exchange_rate(reference, augmented, 100), 6)
        300.0
    """
    return reference.size(float(augmented.accuracy(size))) - size


def bootstrap_laws(
    reference: LearningCurve, augmented: LearningCurve, draws: int = _DRAWS, seed: int = 0
) -> list[tuple[PowerLaw, PowerLaw]]:
    """Fits of both curves to resampled seeds.

    At each size the seeds are drawn with replacement, the same ones for both curves where they have that size: runs
    of one size and seed share data and initial weights, runs of different sizes share nothing (see `sweep`). A mean of
    R draws spreads too little by the factor sqrt((R - 1) / R); the deviations are stretched by its inverse.

    Args:
        reference: The curve without augmentation.
        augmented: The curve with it; R seeds as well.
        draws: Number of resamples.
        seed: Seed of the draws.

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
    reference: LearningCurve,
    augmented: LearningCurve,
    confidence: float = 0.95,
    draws: int = _DRAWS,
    seed: int = 0,
) -> list[Rate]:
    """The exchange rate at every size of the augmented curve, with bootstrap intervals over the seeds.

    Args:
        reference: The curve without augmentation.
        augmented: The curve with it.
        confidence: Of the intervals (percentiles of the resampled rates), in (0, 1).
        draws: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: If a curve has fewer than three sizes, the numbers of seeds differ, or `confidence` is out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), found {confidence}; 0.95 is usual.")
    f_ref, f_aug = reference.fit().law, augmented.fit().law
    largest = float(reference.values().mean(axis=1).max())
    laws = bootstrap_laws(reference, augmented, draws, seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    rates = []
    for size in augmented.sizes:
        low, high = None, None
        if laws:
            resampled = [exchange_rate(*pair, size) for pair in laws]
            # a quantile that is one of the values: between a number and infinity there is nothing to interpolate
            low, high = (float(end) for end in np.quantile(resampled, tails, method="inverted_cdf"))
        above = float(f_aug.accuracy(size)) > largest
        rates.append(Rate(size, exchange_rate(f_ref, f_aug, size), low, high, above))
    return rates


def _resampled(curve: LearningCurve, rows: Mapping[int, Array]) -> PowerLaw:
    means = []
    for size, values in zip(curve.sizes, curve.values(), strict=True):
        deviation = float(values[rows[size]].mean() - values.mean())
        means.append(values.mean() + deviation * math.sqrt(curve.seeds / (curve.seeds - 1)))
    return fit_power_law(curve.sizes, np.clip(means, 0, 1)).law
