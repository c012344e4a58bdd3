"""Numbers of docs/analysis.md about class effects are those of the published study."""

import json
from pathlib import Path

import pytest

from analysis.class_effects.effect_tables import agreement_text

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / "studies" / "results" / "class_effects.json").read_text())
SECTION = (ROOT / "docs" / "analysis.md").read_text().split("## Class effects")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", ["automobile", "bird", "frog", "horse", "ship"])
def test_the_classes_of_the_docs_are_those_of_the_benchmark(name: str) -> None:
    original, several = (
        next(row for row in MEASURED["facts"][truth]["classes"] if row["class"] == name)
        for truth in ("original", "multi_label")
    )
    first, last = (f"{100 * original['accuracy'][place]:.1f}" for place in (0, -1))
    cells = [
        name,
        *(f"{first} → {last}", f"{100 * original['change']:+.1f}{'*' * original['affected']}"),
        f"{100 * several['change']:+.1f}{'*' * several['affected']}",
        *(f"{original['false_positives'][place]:,.0f}" for place in (0, -1)),
    ]
    assert f"| {' | '.join(cells)}{'*' * original['absorbing']} |" in SECTION


def test_the_agreement_of_the_docs_is_that_of_the_benchmark() -> None:
    for step in MEASURED["facts"]["prediction"]:
        for side in ("agreement", "control"):
            for measured in ("loss", "accuracy"):
                assert agreement_text(step[side][measured]) in SECTION


def test_the_recipe_of_the_docs_is_that_of_the_benchmark() -> None:
    for arm, recipe in MEASURED["facts"]["recipes"].items():
        for facts in recipe["comparison"]["original"][arm].values():
            assert f"{100 * facts['change']:+.1f} ± {100 * facts['margin']:.1f}" in SECTION
