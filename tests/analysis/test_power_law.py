import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.exchange_rate.power_law import PowerLaw, fit_power_law

SIZES = [500, 1000, 2000, 4000, 8000, 16000]


@settings(max_examples=40, deadline=None)
@given(
    short=st.floats(0.05, 0.6),  # of b, at the smallest size
    c=st.floats(0.05, 2.0),
    b=st.floats(0.65, 1.0),
)
def test_a_power_law_is_recovered_from_its_own_points(short: float, c: float, b: float) -> None:
    law = PowerLaw(-short * 500**c, c, b)
    fit = fit_power_law(SIZES, law.accuracy(SIZES))
    assert fit.residual < 1e-9
    assert fit.law.c == pytest.approx(c, rel=1e-4)
    assert fit.law.b == pytest.approx(b, abs=1e-4)
    assert fit.law.a == pytest.approx(law.a, rel=1e-3)


def test_the_inverse_undoes_the_law() -> None:
    law = PowerLaw(-3.0, 0.4, 0.92)
    assert [law.size(float(law.accuracy(size))) for size in SIZES] == pytest.approx(SIZES)


@pytest.mark.parametrize("accuracy", [0.9, 0.95, 1.0])
def test_no_number_of_images_reaches_the_limit(accuracy: float) -> None:
    assert PowerLaw(-3.0, 0.4, 0.9).size(accuracy) == math.inf


def test_just_below_the_limit_of_a_slow_curve_is_more_than_a_float_holds() -> None:
    assert PowerLaw(-0.5, 0.01, 0.9).size(0.9 - 1e-12) == math.inf


def test_a_flat_curve_has_an_inverse_of_its_own() -> None:
    flat = PowerLaw(0.0, 0.5, 0.6)
    assert (flat.size(0.5), flat.size(0.6)) == (0.0, math.inf)


def test_a_falling_curve_is_fitted_flat() -> None:
    fit = fit_power_law(SIZES, [0.6, 0.58, 0.56, 0.54, 0.52, 0.5])
    assert fit.law.a == 0
    assert fit.law.b == pytest.approx(0.55)


def test_a_limit_above_one_is_cut_off() -> None:
    beyond = -3.0 * np.array(SIZES, dtype=float) ** -0.2 + 1.15  # 0.28 to 0.72
    fit = fit_power_law(SIZES, beyond)
    assert fit.law.b <= 1
    assert 0 < fit.residual < 0.01


def test_the_fit_is_the_best_under_the_constraints() -> None:
    """Against a dense search over (a, c, b) around it, on noisy points."""
    accuracies = PowerLaw(-2.0, 0.3, 0.85).accuracy(SIZES) + 0.01 * np.random.default_rng(0).standard_normal(6)
    fit = fit_power_law(SIZES, accuracies)
    c, b = np.meshgrid(np.linspace(0.01, 1.5, 300), np.linspace(0.6, 1.0, 400), indexing="ij")
    power = np.array(SIZES, dtype=float)[:, None, None] ** -c
    a = np.minimum((power * (accuracies[:, None, None] - b)).sum(0) / (power**2).sum(0), 0)
    squares = ((a * power + b - accuracies[:, None, None]) ** 2).mean(0)
    assert fit.residual <= np.sqrt(squares.min()) + 1e-12


@pytest.mark.parametrize(
    ("sizes", "accuracies", "words"),
    [
        ([10, 20], [0.1, 0.2], "at least three sizes"),
        ([10, 10, 20], [0.1, 0.1, 0.2], "at least three sizes"),
        ([10, 20, 30], [10.0, 20.0, 30.0], "divide percentages by 100"),
        ([0, 20, 30], [0.1, 0.2, 0.3], "sizes must be positive"),
        ([10, 20, 30], [0.1, float("nan"), 0.3], "accuracies must lie"),
        ([10, 20, 30], [0.1, 0.2], "of one length"),
    ],
)
def test_wrong_points_are_refused(sizes: list[int], accuracies: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit_power_law(sizes, accuracies)


@pytest.mark.parametrize("numbers", [(1.0, 0.5, 0.9), (-1.0, 0.0, 0.9), (-1.0, 0.5, 1.1)])
def test_a_law_keeps_its_constraints(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="a <= 0, c > 0 and b <= 1"):
        PowerLaw(*numbers)
