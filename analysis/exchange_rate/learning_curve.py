"""Measured accuracies of one policy against the number of training images, and their fit by a power law."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import f as f_distribution

from .power_law import Array, Fit, fit_power_law

_PARAMETERS = 3  # of a power law


@dataclass(frozen=True)
class LearningCurve:
    """Measured accuracies of one policy: number of training images -> the accuracy in [0, 1] of each seed.

    At every size there are as many seeds, in the same order.
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
        """Return the accuracies `[n, R]`, a row for each of `sizes`."""
        return np.array([self.accuracies[size] for size in self.sizes], dtype=np.float64)

    def means(self) -> Array:
        """Return the means over the seeds `[n]`."""
        return np.asarray(self.values().mean(axis=1))

    def fit(self) -> Fit:
        """Fit a power law to the means over the seeds; the residual is that of the means."""
        return fit_power_law(self.sizes, self.means())

    def lack_of_fit(self) -> float | None:
        """Return the p value of the F test of lack of fit to the power law.

        Compares the distances, `R sum (mean - f)^2 / (n - 3)`, with the variance between seeds. Assumes the same
        variance at every size, and a law that is linear around its optimum.

        Returns:
            Below 0.05 the curve is no power law, and exchange rates err by more than their intervals. None with a
            single seed or fewer than four sizes.
        """
        count, seeds = len(self.sizes), self.seeds
        if seeds == 1 or count <= _PARAMETERS:
            return None
        distances = seeds * count * self.fit().residual ** 2 / (count - _PARAMETERS)
        variance = float(self.values().var(axis=1, ddof=1).mean())
        if variance == 0:
            return 1.0 if math.isclose(distances, 0, abs_tol=1e-18) else 0.0
        return float(f_distribution.sf(distances / variance, count - _PARAMETERS, count * (seeds - 1)))

    def interpolated_size(self, accuracy: float) -> float | None:
        """Return the smallest size at which straight lines between the means, in log x, reach an accuracy.

        None below the mean of the smallest size and above all means.
        """
        points = list(zip(self.sizes, self.means().tolist(), strict=True))
        first, lowest = points[0]
        if math.isclose(accuracy, lowest, rel_tol=1e-12):
            return float(first)
        if accuracy < lowest:
            return None  # also if the curve falls below it at a larger size
        for (left, below), (right, above) in pairwise(points):
            if below < accuracy <= above:
                return float(left * (right / left) ** ((accuracy - below) / (above - below)))
        return None
