"""Changes of classes under a strong augmentation against their best strength, with significance over seeds.

    Delta_k = a_k(s_strong) - max_s a_k(s) <= 0

Runs of one seed share data and initial weights, so differences are paired. Of a class, every weaker strength is
compared with the strongest one by a one-sided paired t-test; the smallest p-value times the number of weaker strengths
(Bonferroni) is that of the class, since the best strength is chosen from the data; over the classes they are corrected
for the rate of false discoveries (Benjamini and Hochberg, 1995). Delta is a maximum over noisy means and
therefore biased; the p-value is not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control, t

from .metrics import Floats


@dataclass(frozen=True)
class Change:
    """Change of one class under a strong augmentation."""

    best: int  # index of the best strength of the class
    change: float  # value at the strongest minus value at the best, means over the seeds; at most 0
    p_value: float  # of "no weaker strength is better", corrected
    significant: bool  # the p-value is at most the level asked for


def changes_against_best(values: Floats, resolution: ArrayLike, level: float) -> list[Change]:
    """Compare the strongest augmentation with the best strength of each class.

    Args:
        values: `[S, R, K]` for S >= 2 strengths, the strongest last, R >= 2 seeds and K classes; more is better.
        resolution: Smallest step of a value, `[K]` or one number: 1 / images for an accuracy, 1 for a count.
        level: Rate of false discoveries, in (0, 1).

    Raises:
        ValueError: If there are fewer than two strengths or seeds, or the level is out of range.
    """
    if values.ndim != 3 or min(values.shape[:2]) < 2:
        raise ValueError(f"expected [S, R, K] with two or more strengths and seeds, found {list(values.shape)}.")
    if not 0 < level < 1:
        raise ValueError(f"significance: expected a rate in (0, 1), found {level}; 0.05 is usual.")
    weaker = len(values) - 1
    p_values = [_p_values(values[index] - values[-1], resolution) for index in range(weaker)]
    corrected = false_discovery_control(np.minimum(1, weaker * np.min(p_values, axis=0)))
    means = values.mean(axis=1)
    best = means.argmax(axis=0)
    return [
        Change(int(best[k]), float(means[-1, k] - means[best[k], k]), float(corrected[k]), bool(corrected[k] <= level))
        for k in range(values.shape[2])
    ]


def _p_values(differences: Floats, resolution: ArrayLike) -> Floats:
    """Return one-sided p-values `[K]` of positive paired differences `[R, K]`.

    Equal differences have no spread; values are rounded to the resolution, and the difference of two rounding errors
    has a variance of a sixth of its square, which is added.
    """
    seeds = len(differences)
    variance = differences.var(axis=0, ddof=1) + np.square(resolution) / 6
    return np.asarray(t.sf(differences.mean(axis=0) / np.sqrt(variance / seeds), seeds - 1))
