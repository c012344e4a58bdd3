"""Significance over seeds: planted effects are found, nothing is found where there is nothing."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from analysis.class_effects.changes import changes_against_best
from analysis.class_effects.recipe import most_changed
from studies.kinds.class_effects.facts import mean_change

CLASSES, IMAGES = 10, 1000


def accuracies(
    drops: dict[int, float], seed: int, strengths: int = 3, seeds: int = 5, spread: float = 0.01
) -> NDArray[np.float64]:
    """Rounded accuracies; at the strongest augmentation the classes of `drops` fall by so much."""
    generator = np.random.default_rng(seed)
    values = 0.7 + spread * generator.standard_normal((strengths, seeds, CLASSES))
    values += 0.03 * generator.standard_normal((1, seeds, CLASSES))  # of the seed, the same at all strengths
    for k, drop in drops.items():
        values[-1, :, k] -= drop
    rounded: NDArray[np.float64] = np.round(values * IMAGES) / IMAGES
    return rounded


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_class_is_found_and_no_other(seed: int) -> None:
    changes = changes_against_best(accuracies({3: 0.1, 7: 0.08}, seed), 1 / IMAGES, 0.05)
    assert [k for k, change in enumerate(changes) if change.significant] == [3, 7]
    assert changes[3].change == pytest.approx(-0.1, abs=0.03)
    assert changes[3].best < 2
    assert all(change.change <= 0 for change in changes)


@pytest.mark.parametrize(("strengths", "seeds"), [(2, 5), (3, 5), (3, 3)])
def test_under_the_null_something_is_found_at_about_the_nominal_rate(strengths: int, seeds: int) -> None:
    studies, level = 1000, 0.1
    found = sum(
        any(
            change.significant
            for change in changes_against_best(accuracies({}, seed, strengths, seeds), 1 / IMAGES, level)
        )
        for seed in range(studies)
    )
    assert found / studies < level + 0.03  # 3 standard errors
    assert found / studies > level / 4  # a test that never finds anything would pass the line above


def test_taking_the_best_strength_unpaired_and_uncorrected_would_find_far_too_much() -> None:
    """What the correction is for: the same studies, with the smallest p-value of a class as it is."""
    found = 0
    for seed in range(200):
        values = accuracies({}, seed)
        p_values = [ttest_rel(values[s], values[-1], alternative="greater").pvalue for s in range(2)]
        found += bool((np.min(p_values, axis=0) <= 0.1).any())
    assert found / 200 > 0.5


def test_the_p_value_is_that_of_scipy_with_one_weaker_strength_and_one_class() -> None:
    values = accuracies({0: 0.01}, 0, strengths=2)[:, :, :1]
    (change,) = changes_against_best(values, 0, 0.05)
    assert change.p_value == pytest.approx(float(ttest_rel(values[0], values[1], alternative="greater").pvalue[0]))


def test_differences_that_happen_to_be_equal_prove_nothing() -> None:
    """One image more in both of two seeds: no spread at all, and no effect either."""
    values = np.full((2, 2, 1), 0.5)
    values[0] += 1 / IMAGES
    (change,) = changes_against_best(values, 1 / IMAGES, 0.05)
    assert not change.significant
    assert change.change == pytest.approx(-1 / IMAGES)
    (same,) = changes_against_best(np.full((2, 2, 1), 0.5), 1 / IMAGES, 0.05)
    assert (same.change, same.significant) == (0, False)


def test_a_rise_is_no_drop() -> None:
    (change,) = changes_against_best(accuracies({0: -0.2}, 0)[:, :, :1], 1 / IMAGES, 0.05)
    assert (change.best, change.change, change.significant) == (2, 0, False)


def test_the_most_changed_classes_come_worst_first_and_only_if_they_lose() -> None:
    values = np.full((3, 2, 4), 10.0)
    values[-1, :, 1], values[-1, :, 2], values[0, :, 3] = 7, 4, 2
    values[1, :, 2] = 11
    assert most_changed(values, 3) == {2: 1, 1: 0}
    assert most_changed(values, 1) == {2: 1}


def test_the_mean_change_has_the_interval_of_a_paired_t_test() -> None:
    before, after = [0.1, 0.2, 0.35, 0.3], [0.15, 0.22, 0.36, 0.4]
    change, margin = mean_change(before, after)
    interval = ttest_rel(after, before).confidence_interval(0.95)
    assert (change - margin, change + margin) == pytest.approx((float(interval.low), float(interval.high)))


@pytest.mark.parametrize(
    ("shape", "level", "words"),
    [((1, 3, 4), 0.05, "two or more"), ((3, 1, 4), 0.05, "two or more"), ((3, 3, 4), 1.0, r"in \(0, 1\)")],
)
def test_too_little_is_refused(shape: tuple[int, ...], level: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        changes_against_best(np.zeros(shape), 1, level)
