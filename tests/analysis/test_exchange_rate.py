import math

import numpy as np
import pytest

from analysis.exchange_rate.learning_curve import LearningCurve
from analysis.exchange_rate.power_law import PowerLaw
from analysis.exchange_rate.rate import exchange_rate, exchange_rates

SIZES = [500, 1000, 2000, 4000, 8000, 16000]
REFERENCE = PowerLaw(-2.5, 0.3, 0.9)


def curve(law: PowerLaw, sizes: list[int], noise: float = 0.0, seeds: int = 3, seed: int = 0) -> LearningCurve:
    draws = np.random.default_rng(seed).standard_normal((len(sizes), seeds))
    values = np.clip(law.accuracy(sizes)[:, None] + noise * draws, 0, 1)
    return LearningCurve({size: row.tolist() for size, row in zip(sizes, values, strict=True)})


def test_the_same_policy_is_worth_nothing() -> None:
    for rate in exchange_rates(curve(REFERENCE, SIZES), curve(REFERENCE, SIZES), draws=10):
        assert rate.value == pytest.approx(0, abs=1e-3)
        assert rate.low == pytest.approx(rate.value)


@pytest.mark.parametrize("a", [-2.0, -2.4, -3.0])
def test_curves_that_differ_in_a_alone_have_a_closed_form(a: float) -> None:
    """x' = x (a_ref / a_aug)^(1/c): a weaker policy than none (a = -3) is worth less than nothing."""
    augmented = PowerLaw(a, REFERENCE.c, REFERENCE.b)
    for rate in exchange_rates(curve(REFERENCE, SIZES), curve(augmented, SIZES[:4]), draws=2):
        expected = rate.size * (REFERENCE.a / a) ** (1 / REFERENCE.c) - rate.size
        assert rate.value == pytest.approx(expected, rel=1e-5)
        assert rate.value == pytest.approx(exchange_rate(REFERENCE, augmented, rate.size), rel=1e-5)
        assert (rate.value < 0) == (a < REFERENCE.a)


def test_an_accuracy_that_the_reference_never_reaches_is_worth_infinitely_much() -> None:
    low = PowerLaw(-2.5, 0.3, 0.6)
    high = PowerLaw(-2.5, 0.3, 0.9)
    rates = exchange_rates(curve(low, SIZES, 0.001), curve(high, SIZES, 0.001), draws=20)
    reaches = [float(high.accuracy(size)) >= 0.6 for size in SIZES]
    assert [math.isinf(rate.value) for rate in rates] == reaches
    assert any(reaches)
    assert not all(reaches)
    last = rates[-1]
    assert last.low == last.high == math.inf
    assert last.extrapolated


def test_what_lies_above_the_largest_measured_accuracy_is_flagged() -> None:
    augmented = PowerLaw(-2.0, 0.3, 0.9)
    rates = exchange_rates(curve(REFERENCE, SIZES), curve(augmented, SIZES), draws=2)
    # the reference is measured to 16,000 images; the augmented curve is worth a factor (2.5 / 2)^(1/0.3) = 2.10
    assert [rate.extrapolated for rate in rates] == [False, False, False, False, True, True]


def test_an_interval_may_end_in_infinity() -> None:
    """At 16,000 images the augmented curve just fails to reach the limit of the reference."""
    flat = PowerLaw(-2.5, 0.3, 0.75)
    augmented = PowerLaw(-2.0, 0.3, 0.9)
    rate = exchange_rates(curve(flat, SIZES, 0.01), curve(augmented, SIZES, 0.01, seed=1), draws=200)[3]
    assert rate.low is not None
    assert 0 < rate.low < math.inf
    assert rate.high == math.inf


def test_one_seed_gives_no_interval() -> None:
    rates = exchange_rates(curve(REFERENCE, SIZES, seeds=1), curve(REFERENCE, SIZES, seeds=1))
    assert {(rate.low, rate.high) for rate in rates} == {(None, None)}


def test_paired_noise_cancels() -> None:
    """The same noise in both curves moves both alike: the interval is far narrower than with noise of its own."""
    augmented = PowerLaw(-2.0, 0.3, 0.9)

    def width(seed: int) -> float:
        rate = exchange_rates(curve(REFERENCE, SIZES, 0.01), curve(augmented, SIZES, 0.01, seed=seed), draws=100)[1]
        assert rate.low is not None
        assert rate.high is not None
        return rate.high - rate.low

    assert width(seed=0) < 0.6 * width(seed=1)


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """Nominal 90 % on 60 synthetic studies of three seeds: at least 78 %, and no more than 97 % (not just wide)."""
    augmented = PowerLaw(-2.0, 0.3, 0.9)
    covered = []
    for study in range(60):
        measured = curve(REFERENCE, SIZES, 0.008, seed=study), curve(augmented, SIZES[:4], 0.008, seed=1000 + study)
        rate = exchange_rates(*measured, confidence=0.9, draws=60)[1]
        assert rate.low is not None
        assert rate.high is not None
        covered.append(rate.low <= exchange_rate(REFERENCE, augmented, rate.size) <= rate.high)
    assert 0.78 <= np.mean(covered) <= 0.97


def test_curves_of_different_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="same seeds"):
        exchange_rates(curve(REFERENCE, SIZES, seeds=2), curve(REFERENCE, SIZES, seeds=3))
    with pytest.raises(ValueError, match="as many seeds at every size"):
        LearningCurve({500: [0.1], 1000: [0.1, 0.2]})
    with pytest.raises(ValueError, match="confidence"):
        exchange_rates(curve(REFERENCE, SIZES), curve(REFERENCE, SIZES), confidence=95)
