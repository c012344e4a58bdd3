"""The augmentation benchmark: every row runs, and the files say what was measured."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.augment.__main__ import main, markdown
from benchmarks.augment.cases import Case
from benchmarks.augment.ours import ROWS as OURS
from benchmarks.augment.ours import STEP
from benchmarks.augment.peers import ROWS as PEERS
from benchmarks.augment.timing import seconds


def test_quick_run_measures_every_row(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        main(["--quick=true", "--threads=1", f"--output={tmp_path / 'augment.json'}"])
    finally:
        torch.set_num_threads(threads)
    written = json.loads((tmp_path / "augment.json").read_text())
    rows = {row["row"]: row for row in written["rows"]}
    assert set(rows) == {*OURS, *PEERS, STEP}
    measured = {name: row for name, row in rows.items() if "remark" not in row}
    assert {*OURS, STEP} <= set(measured)
    assert all("albumentations" in name for name in set(rows) - set(measured))
    for name, row in measured.items():
        assert row["images_per_second"] == pytest.approx(8 / row["seconds"])
        if name in PEERS:
            assert row["ours_is_faster_by"] == pytest.approx(row["seconds"] / rows[PEERS[name][0]]["seconds"])
    share = rows["trivial_augment"]["share_of_training_step"]
    assert share == pytest.approx(rows["trivial_augment"]["seconds"] / rows[STEP]["seconds"])
    assert written["setting"]["threads"] == 1
    text = (tmp_path / "augment.md").read_text()
    assert text == markdown(written["setting"], written["rows"])
    assert all(f"| {name} |" in text for name in rows)


def test_calls_are_in_turn_and_slow_rows_stop_at_the_limit() -> None:
    called: list[str] = []
    rows = {name: (lambda case, name=name: lambda: called.append(name)) for name in ("a", "b")}
    seconds(rows, Case(1, 8), rounds=3, limit=60.0)
    assert called == [*"ab" * 4]
    called.clear()
    seconds(rows, Case(1, 8), rounds=3, limit=0.0)
    assert called == [*"ab" * 2]


def test_a_missing_library_is_said() -> None:
    def make(case: Case) -> None:
        raise ModuleNotFoundError("no", name="somewhere")

    assert seconds({"x": make}, Case(1, 8), 1, 1.0) == {"x": "not installed: somewhere"}  # type: ignore[dict-item]
