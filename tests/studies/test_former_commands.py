"""Commands that moved to studies: their old spelling writes a study with the same runs, and runs it in a process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import analysis.__main__ as analyses
from studies.engine import Study, read_study
from studies.former_commands import main


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []

    def note(command: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        commands.append(command)
        return subprocess.CompletedProcess(command, 3 if "--workers=7" in command else 0)

    monkeypatch.setattr(subprocess, "run", note)
    return commands


def written(started: list[list[str]], folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> Study:
    file = folder / f"{name}.yaml"
    assert started == [
        [sys.executable, "-m", "studies", str(file), f"--folder={folder / 'runs'}", f"--output={folder / 'analysis'}",
         "--workers=1", "--threads=1", "--progress=false"]
    ]  # fmt: skip
    said = f"DeprecationWarning: {name} moved to python -m studies {file}; {file} holds its options.\n"
    assert capsys.readouterr().err == said
    return read_study(file)


def test_exchange_rate(started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([
        "exchange_rate", str(tmp_path), f"--folder={tmp_path}", "--policies=[cutout, flip_crop+cutout]",
        "--sizes=[10,20,30]", "--reference_sizes=[10,20,40]", "--frozen_views=[1,4]", "--seeds=2",
        "--training.steps=4", "--training.model_kwargs={width: 2}", "--measurement.val_size=20",
        "--measurement.corruptions=[contrast]", "--resamples=20", "--progress=false",
    ])  # fmt: skip
    study = written(started, tmp_path, "exchange_rate", capsys)
    views = ("", ", 1 frozen view", ", 4 frozen views")
    assert set(study.arms) == {"none", *(name + view for name in ("cutout", "flip_crop + cutout") for view in views)}
    runs: Any = study.settings()
    assert len(runs) == 2 * (3 + 6 * 3)
    assert {run.size for cell, run in runs.items() if cell.arm == "none"} == {10, 20, 40}
    one = study.setting("30", "flip_crop + cutout, 4 frozen views", 1)
    expected = {"path": str(tmp_path), "size": 30, "policy": "flip_crop+cutout", "views": 4, "val_size": 20}
    assert expected.items() <= vars(one).items()
    assert (one.corruptions, one.training.steps, one.training.model_kwargs) == (["contrast"], 4, {"width": 2})  # type: ignore[attr-defined]
    assert study.report.resamples == 20  # type: ignore[attr-defined]


def test_class_effects(started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    votes = tmp_path / "votes.npy"
    votes.touch()
    main([
        "class_effects", "owner/name", f"--folder={tmp_path}", "--ops={hue: 90.0}", "--base=none",
        "--strengths=[0.05,0.5,1.0]", "--size=64", "--seeds=2", f"--human_counts={votes}", "--weaker=fewest",
        "--thresholds.vote_share=0.2", "--thresholds.significance=0.1", "--training.steps=12", "--progress=false",
    ])  # fmt: skip
    study = written(started, tmp_path, "class_effects", capsys)
    assert list(study.arms) == ["strength 0.05", "strength 0.5", "strength 1", "class-conditional"]
    weakest: Any = study.setting("all", "strength 0.05")
    assert (weakest.path, weakest.strength, weakest.predict) == ("owner/name", 0.05, [0.5, 1.0])
    assert (weakest.human_counts, weakest.vote_share, weakest.ops) == (str(votes), 0.2, {"hue": 90.0})
    conditional: Any = study.setting("all", "class-conditional")
    assert (conditional.conditional.weaker, conditional.conditional.seeds) == ("fewest", 2)
    assert study.report.thresholds.significance == 0.1  # type: ignore[attr-defined]


def test_a_failure_is_passed_on(started: list[list[str]], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["exchange_rate", "owner/name", f"--folder={tmp_path}", "--workers=7"])
    assert stopped.value.code == 3


def test_the_old_spelling_runs_them_in_a_process(started: list[list[str]]) -> None:
    analyses.main(["exchange_rate", "owner/name", "--seeds=2"])
    assert started == [[sys.executable, "-m", "studies.former_commands", "exchange_rate", "owner/name", "--seeds=2"]]
    with pytest.raises(SystemExit) as stopped:
        analyses.main(["class_effects", "owner/name", "--workers=7"])
    assert stopped.value.code == 3


def test_without_the_repository_it_says_where_to_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(analyses, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        analyses.main(["class_effects", "owner/name"])
    assert "run `python -m studies class_effects` in a clone of the repository" in capsys.readouterr().err
