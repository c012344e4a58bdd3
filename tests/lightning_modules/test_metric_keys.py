"""What is documented about the log."""

import re
from pathlib import Path

import pytest

from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.monitoring.metric_keys import METRICS, PAGE, metric, table, updated

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert PAGE == ROOT / "docs" / "logging.md"
    assert updated(page) == page, "run `python -m lightning_modules.monitoring.metric_keys`"


def test_an_old_table_is_replaced_and_the_rest_stays() -> None:
    page = PAGE.read_text()
    old = page.replace("Accuracy on the test images", "Something else").replace("# Watching a run", "# Title")
    assert old != page
    assert updated(old) == page.replace("# Watching a run", "# Title")


def test_a_page_without_a_place_for_the_table() -> None:
    with pytest.raises(ValueError, match="no such place in the page"):
        updated("# Watching a run\n")


def test_every_entry_is_a_row_with_every_cell_filled() -> None:
    header, _, *rows = table().splitlines()
    assert len(rows) == len(METRICS)
    for row in (header, *rows):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 6
        assert all(cells), row


def test_families() -> None:
    assert metric("range/OP").covers("range/translate_x")
    assert not metric("range/OP").covers("range/")
    assert not metric("range/OP").covers("arange/rotation")
    assert metric("val/acc/CLASS").covers("val/acc/Border Collie, 3/4")
    assert not metric("val/acc/CLASS").covers("val/acc")
    assert not metric("val/acc").covers("val/acc/cat")
    assert not metric("val/acc").covers("val.acc")
    assert [one.key for one in METRICS if one.is_family] == [
        "val/acc/CLASS",
        "val/ap/CLASS",
        "range/OP",
        "shift/OP",
        "lowest/OP",
        "highest/OP",
        "probability/OP",
        "strength/OP",
        "field/FACT",
    ]


def test_no_key_has_two_entries() -> None:
    lines = (ROOT / "lightning_modules" / "monitoring" / "metric_keys.yaml").read_text().splitlines()
    assert [line for line in lines if re.match(r"\S+:$", line)] == [f"{one.key}:" for one in METRICS]
    for one in METRICS:
        logged = re.sub("[A-Z]+", "name", one.key)
        assert [other.key for other in METRICS if other.covers(logged)] == [one.key]


def test_an_unknown_key() -> None:
    with pytest.raises(KeyError, match="'val/recall' is not documented"):
        metric("val/recall")


def test_settings_that_the_table_names_exist_with_the_defaults_it_names() -> None:
    named = set(re.findall(r"`learner\.(\w+)`", table()))
    assert named
    assert named <= set(LearnerSettings.__dataclass_fields__)
    assert "`learner.tol`, 0.01." in table()
    assert LearnerSettings().tol == 0.01
    assert "`learner.radius`, 1." in table()
    assert LearnerSettings().radius == 1
