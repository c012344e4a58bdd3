"""Numbers of docs/analysis.md about exchange rates are those of the published studies."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / "studies" / "results" / "exchange_rate.json").read_text())
SECTION = (ROOT / "docs" / "analysis.md").read_text().split("## Worth in real images")[1].split("\n## ")[0]
ROWS = [
    ("none", 500), ("none", 2000), ("none", 4000), ("none", 16_000),
    ("flip_crop", 500), ("flip_crop", 2000), ("flip_crop", 4000),
    ("flip_crop + trivial_augment", 500), ("flip_crop + trivial_augment", 2000), ("flip_crop + trivial_augment", 4000),
]  # fmt: skip


def _cells(measure: dict[str, Any], arm: str, size: int) -> tuple[str, str, str]:
    """Accuracy, worth and interpolated worth, in the words of the page."""
    curve = measure["curves"][arm]
    accuracy = f"{100 * fmean(curve['accuracies'][curve['sizes'].index(size)]):.1f}"
    if arm == "none":
        return accuracy, "-", "-"
    point = next(point for point in measure["rates"][arm] if point["size"] == size)
    worth = f"{point['value']:+,.0f} ({point['low']:+,.0f} to {point['high']:+,.0f})"
    return accuracy, worth, f"{point['interpolated']:+,.0f}"


@pytest.mark.parametrize(("arm", "size"), ROWS)
def test_the_rows_of_the_docs_are_those_of_the_benchmark(arm: str, size: int) -> None:
    inside = _cells(MEASURED["facts"]["in_domain"], arm, size)
    accuracy, _, interpolated = _cells(MEASURED["facts"]["corrupted"], arm, size)
    assert f"| {arm} | {size:,} | {' | '.join(inside)} | {accuracy} | {interpolated} |" in SECTION


def test_the_warning_of_the_docs_is_that_of_the_benchmark() -> None:
    curve = MEASURED["facts"]["in_domain"]["curves"]["none"]
    assert f"is no power law here (p = {curve['lack_of_fit']:.4f})" in SECTION


def test_the_frozen_views_of_the_docs_are_those_that_were_measured() -> None:
    measured = json.loads((ROOT / "studies" / "results" / "frozen_views.json").read_text())["facts"]["in_domain"]
    policy = "flip_crop + trivial_augment"
    arms = {
        "accuracy without it, %": "none",
        "one frozen view": f"{policy}, 1 frozen view",
        "four frozen views": f"{policy}, 4 frozen views",
        "new views in every epoch": policy,
    }
    for words, arm in arms.items():
        accuracies = [f"{100 * fmean(seeds):.1f}" for seeds in measured["curves"][arm]["accuracies"][:3]]
        assert f"| {words} | {' | '.join(accuracies)} |" in SECTION
    for words, arm in (("four views", f"{policy}, 4 frozen views"), ("new views", policy)):
        worth = [f"{point['interpolated']:+,.0f}" for point in measured["rates"][arm]]
        assert f"| worth of {words}, interpolated | {' | '.join(worth)} |" in SECTION
