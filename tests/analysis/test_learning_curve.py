import numpy as np
import pytest

from analysis.exchange_rate.learning_curve import LearningCurve
from analysis.exchange_rate.power_law import PowerLaw
from analysis.exchange_rate.rate import exchange_rates

SIZES = [500, 1000, 2000, 4000, 8000, 16000]
LAW = PowerLaw(-2.5, 0.3, 0.9)


def noisy(step: float, seed: int) -> LearningCurve:
    """A power law with a step of this height in its middle, and noise between three seeds."""
    means = LAW.accuracy(SIZES) + step * (np.array(SIZES) >= 4000)
    values = means[:, None] + 0.008 * np.random.default_rng(seed).standard_normal((6, 3))
    return LearningCurve({size: row.tolist() for size, row in zip(SIZES, values, strict=True)})


def test_lack_of_fit_is_seldom_found_where_there_is_none() -> None:
    """At a level of 5 %, in 2 to 18 of 200 studies; p is uniform, so about half lie below one half."""
    values = np.array([noisy(0, seed).lack_of_fit() for seed in range(200)], dtype=float)
    assert 2 <= (values < 0.05).sum() <= 18
    assert 0.38 <= (values < 0.5).mean() <= 0.62


def test_lack_of_fit_is_found_where_the_curve_has_a_step() -> None:
    values = np.array([noisy(0.07, seed).lack_of_fit() for seed in range(20)], dtype=float)
    assert (values < 0.05).mean() >= 0.9


def test_lack_of_fit_needs_seeds_and_sizes() -> None:
    assert LearningCurve({size: [0.5] for size in SIZES}).lack_of_fit() is None
    assert LearningCurve({size: [0.5, 0.51] for size in SIZES[:3]}).lack_of_fit() is None


def test_curves_without_noise() -> None:
    exact = {size: [float(LAW.accuracy(size))] * 2 for size in SIZES}
    assert LearningCurve(exact).lack_of_fit() == 1
    assert LearningCurve({**exact, 4000: [0.9, 0.9]}).lack_of_fit() == 0


def test_interpolation_is_straight_in_the_logarithm_of_the_size() -> None:
    curve = LearningCurve({100: [0.2, 0.4], 400: [0.5, 0.5], 1600: [0.4, 0.4], 6400: [0.7, 0.7]})
    assert curve.interpolated_size(0.3) == 100
    assert curve.interpolated_size(0.4) == pytest.approx(200)  # half-way from 100 to 400
    assert curve.interpolated_size(0.5) == pytest.approx(400)  # the first time
    assert curve.interpolated_size(0.7) == pytest.approx(6400)
    assert curve.interpolated_size(0.29) is None
    assert curve.interpolated_size(0.71) is None


def test_nothing_is_interpolated_below_the_smallest_size_where_a_curve_dips_later_on() -> None:
    curve = LearningCurve({100: [0.5], 200: [0.4], 400: [0.6]})
    assert curve.interpolated_size(0.45) is None
    assert curve.interpolated_size(0.5) == 100
    assert curve.interpolated_size(0.55) == pytest.approx(200 * 2**0.75)


def test_interpolated_rates_need_no_power_law() -> None:
    """Reference with a step: the fit is off, the interpolation between the measured points is not."""
    reference = LearningCurve({100: [0.1], 200: [0.2], 400: [0.3], 800: [0.7], 1600: [0.71]})
    augmented = LearningCurve({100: [0.2], 200: [0.3], 400: [0.7]})
    rates = exchange_rates(reference, augmented)
    assert [rate.interpolated for rate in rates] == pytest.approx([100, 200, 400])
    assert abs(rates[1].value - 200) > 20
