"""The page of the exchange rate benchmark, and what docs/analysis.md says of it, are made from its JSON."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.exchange_rate import page

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / "benchmarks" / "results" / "exchange_rate.json").read_text())
SECTION = (ROOT / "docs" / "analysis.md").read_text().split("## Worth in real images")[1].split("\n## ")[0]
ROWS = [
    ("none", 500), ("none", 2000), ("none", 4000), ("none", 16_000),
    ("flip_crop", 500), ("flip_crop", 2000), ("flip_crop", 4000),
    ("flip_crop + trivial_augment", 500), ("flip_crop + trivial_augment", 2000), ("flip_crop + trivial_augment", 4000),
]  # fmt: skip


def test_the_page_is_made_from_its_json() -> None:
    assert (ROOT / "benchmarks" / "results" / "exchange_rate.md").read_text() == page(MEASURED)


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
    inside = _cells(MEASURED["result"]["in_domain"], arm, size)
    accuracy, _, interpolated = _cells(MEASURED["result"]["corrupted"], arm, size)
    assert f"| {arm} | {size:,} | {' | '.join(inside)} | {accuracy} | {interpolated} |" in SECTION


def test_the_warning_of_the_docs_is_that_of_the_benchmark() -> None:
    curve = MEASURED["result"]["in_domain"]["curves"]["none"]
    assert f"is no power law here (p = {curve['lack_of_fit']:.4f})" in SECTION
