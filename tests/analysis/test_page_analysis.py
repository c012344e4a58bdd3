"""docs/analysis.md: its numbers are those that were measured; its code is run in `test_docs`."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "analysis.md").read_text()
RUNS = json.loads((ROOT / "studies" / "results" / "moments_cifar10.json").read_text())["runs"]
MEASURED = RUNS[0]["result"]["measured"]


@pytest.mark.parametrize("name", ["flip_crop", "horizontal_flip", "rand_augment", "trivial_augment", "learned"])
def test_the_numbers_of_the_page_are_those_of_the_study(name: str) -> None:
    row = next(row for row in MEASURED["augmentations"] if row["augmentation"] == name)
    counts = [*(row["samples"]["loss"][part] for part in ("median", "low", "high"))]
    counts += [row["samples"][kind]["median"] for kind in ("image", "covariance")]
    one, low, high, image, covariance = (f"{float(f'{count:.3g}'):,.0f}" for count in counts)
    assert f"| {one} ({low}-{high}) | {image} | {covariance} |" in PAGE
