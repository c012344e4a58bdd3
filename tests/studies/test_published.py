"""Every study in the repository: its file, its published runs and its page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import studies.__main__ as command
from studies.engine import Setting, Study, read_study
from studies.engine.results import markdown, published_seeds, read_results

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "studies" / "results"
FILES = sorted((ROOT / "studies").glob("*.yaml"))


def _bootstrapped(file: Path) -> Any:
    """Return a parameter that is slow where the page draws thousands of resamples."""
    return pytest.param(
        file, marks=[pytest.mark.slow, pytest.mark.long] if file.stem in ("exchange_rate", "frozen_views") else []
    )


def whole(file: Path) -> Study:
    """Return a study with all seeds that are published."""
    study = read_study(file)
    return replace(study, seeds=max(study.seeds, published_seeds(study, RESULTS)))


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_arm_can_be_built(file: Path) -> None:
    for cell, setting in read_study(file).settings().items():
        if cell.seed == 0:
            setting.check()


@pytest.mark.slow
@pytest.mark.parametrize("file", [_bootstrapped(file) for file in FILES], ids=[file.stem for file in FILES])
def test_the_page_is_made_from_the_runs_and_every_run_is_found(file: Path) -> None:
    study = whole(file)
    results = read_results(study, RESULTS)
    assert len(results) >= len(json.loads((RESULTS / f"{file.stem}.json").read_text())["runs"]) > 0
    made = markdown(study, results, study.report.page(study, results))
    assert (RESULTS / f"{file.stem}.md").read_text() == made


@pytest.mark.slow
def test_a_published_study_trains_nothing_and_keeps_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: Setting, cache: object) -> None:
        raise AssertionError(f"trained {run}")

    study = whole(ROOT / "studies" / "shift.yaml")
    monkeypatch.setattr(study.kind.setting, "run", refuse)
    out = tmp_path / "out"
    out.mkdir()
    for kind in ("json", "md", "png"):
        (out / f"shift.{kind}").write_bytes((RESULTS / f"shift.{kind}").read_bytes())
    command.study(
        "shift",
        arms=["flip + crop", "TrivialAugment-Wide", "learned intervals", "learned mixture"],
        folder=tmp_path / "runs",
        output=out,
        progress=False,
    )
    for kind in ("json", "md", "png"):
        assert (out / f"shift.{kind}").read_bytes() == (RESULTS / f"shift.{kind}").read_bytes()
