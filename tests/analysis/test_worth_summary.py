"""The summary of exchange rates in numbers, words and pictures, from made-up accuracies."""

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from analysis.exchange_rate import LearningCurve, PowerLaw, summarize_worth
from analysis.exchange_rate.worth_tables import poor_fits, rate_text, worth_tables
from studies.kinds.exchange_rate.pictures import plot_curves, plot_rates


def curve(law: PowerLaw, *sizes: int) -> LearningCurve:
    def seeds(size: int) -> list[float]:
        noise = 0.002 * np.random.default_rng(size).standard_normal(3)
        return [float(value) for value in law.accuracy(size) + noise]

    return LearningCurve({size: seeds(size) for size in sizes})


def summary(**names: LearningCurve) -> dict[str, Any]:
    """A reference that ends at 55 %, a policy that goes beyond, and one that is the reference."""
    low, high = PowerLaw(-2.5, 0.3, 0.55), PowerLaw(-2.0, 0.3, 0.9)
    curves = {
        "none": curve(low, 500, 1000, 2000, 4000, 8000),
        "flip_crop": curve(high, 500, 1000, 2000, 4000),
        "nothing": curve(low, 500, 1000, 2000, 4000),
        **names,
    }
    measure = summarize_worth(curves, "none", draws=50)
    sizes = ("500", "1000")
    return {
        "in_domain": measure,
        "corrupted": measure,
        "corruptions": {"jpeg_noise": {name: dict.fromkeys(sizes, 0.25) for name in curves}},
    }


@pytest.mark.slow
def test_a_worth_beyond_all_bounds_can_be_written_and_drawn() -> None:
    facts = summary()
    rates = facts["in_domain"]["rates"]
    assert list(rates) == ["flip_crop", "nothing"]
    point = rates["flip_crop"][-1]
    assert (point["infinite"], point["value"], point["extrapolated"]) == (True, None, True)
    assert rate_text(point).startswith("infinite (")
    assert all(abs(point["value"]) < 0.1 * point["size"] for point in rates["nothing"])
    json.dumps(facts, allow_nan=False)
    for figure in (plot_curves(facts), plot_rates(facts)):
        assert len(figure.axes) == 2
        figure.savefig(BytesIO(), format="png")
    inside, outside, corruptions = worth_tables(facts)
    assert len(inside.rows) == len(outside.rows) == 5 + 4 + 4
    assert corruptions.header == ["policy", "jpeg noise"]
    assert corruptions.rows == [["none", "25.0"], ["flip_crop", "25.0"], ["nothing", "25.0"]]


@pytest.mark.parametrize("measures", [("in_domain",), ("in_domain", "corrupted")])
def test_long_names_of_policies_fit_into_the_picture(measures: tuple[str, ...]) -> None:
    long = {"flip_crop + trivial_augment, 4 frozen views": curve(PowerLaw(-2, 0.3, 0.8), 500, 1000, 2000)}
    facts = summary(**long)
    figure = plot_curves({name: facts[name] for name in measures})
    figure.savefig(BytesIO(), format="png")
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1


def test_the_worth_of_a_policy_is_put_in_words() -> None:
    point = {"infinite": False, "value": 1234.4, "low": -10.0, "high": 2000.0, "low_infinite": False}
    point["high_infinite"] = False
    point["extrapolated"] = False
    assert rate_text(point) == "+1,234 (-10 to +2,000)"
    assert rate_text({**point, "high": None, "high_infinite": True}) == "+1,234 (-10 to infinite)"
    assert rate_text({**point, "low": None, "high": None}) == "+1,234"
    assert rate_text({**point, "value": -0.4, "low": -1.2, "high": 0.3}) == "+0 (-1 to +0)"
    assert rate_text({**point, "extrapolated": True}) == "+1,234 (-10 to +2,000) *"
    nothing = {"value": None, "low": None, "high": None, "extrapolated": False}
    both = {**nothing, "infinite": True, "low_infinite": True, "high_infinite": True}
    assert rate_text(both) == "infinite (infinite to infinite)"


def test_a_curve_that_is_no_power_law_is_named() -> None:
    curves = {"none": {"residual": 0.02, "lack_of_fit": 0.001}, "cutout": {"residual": 0.001, "lack_of_fit": None}}
    assert [note.split(" is ")[0] for note in poor_fits({"curves": curves})] == ["the curve of none"]
