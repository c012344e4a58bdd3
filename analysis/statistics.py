"""Confidence intervals: Student's for a mean over seeds, Wilson's for a share of a number of images."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A number with the bounds of its 95 % interval; None for bounds that are not known."""

    value: float
    low: float | None
    high: float | None

    def times(self, factor: float) -> "Interval":
        """Return the same in another unit, for a factor > 0."""
        low, high = (None if end is None else factor * end for end in self[1:])
        return Interval(factor * self.value, low, high)


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean of one number a seed, with Student's t-interval; no bounds for a single seed.

    Example:
        >>> [round(bound, 3) for bound in over_seeds([1.0, 2.0, 3.0])]
        [2.0, -0.484, 4.484]
    """
    mean, count = fmean(values), len(values)
    if count < 2:
        return Interval(mean, None, None)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval | None:
    """Return the mean of ours minus theirs (seed -> number) over the seeds that both have, None without such.

    Example:
        >>> paired_difference({0: 3.0, 1: 4.0, 2: 9.0}, {0: 1.0, 1: 2.0})
        Interval(value=2.0, low=2.0, high=2.0)
    """
    shared = sorted(set(ours) & set(theirs))
    return over_seeds([ours[seed] - theirs[seed] for seed in shared]) if shared else None


def wilson(share: float, count: int) -> Interval:
    """Return a share of `count` images with the interval of Wilson (1927).

    It says how much other images of the same kind would change the share, and nothing of other seeds.

    Example:
        >>> [round(bound, 3) for bound in wilson(0.9, 100)]
        [0.9, 0.826, 0.945]
    """
    found = stats.binomtest(round(share * count), count).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(share, float(found.low), float(found.high))
