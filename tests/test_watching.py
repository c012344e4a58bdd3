"""Monitoring without an account: TensorBoard, the offline run in W&B's own reader, the commands printed at the end."""

import csv
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.commands.cli import main
from lightning_modules.learner import checks

pytestmark = pytest.mark.slow  # whole runs and commands

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])


def fit(folder: Path, *more: str) -> list[str]:
    settings = {
        "config": ROOT / "configs" / "digits.yaml",
        "data.image_size": 8,
        "model.learner.warmup": 5,
        "trainer.max_epochs": 1,
        "trainer.enable_progress_bar": "false",
        "trainer.log_every_n_steps": 5,
        "run.folder": folder,
        "run.compare": "[]",
        "run.wandb": "disabled",
    }
    return ["fit", *(f"--{key}={value}" for key, value in settings.items()), *more]


def printed_commands(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The lines that are printed after the one that names the folder."""
    lines = capsys.readouterr().out.split("Files of this run: ")[1].splitlines()[1:]
    return dict(line.strip().split(": ", 1) for line in lines)


def test_tensorboard_has_what_the_table_has_and_the_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event_accumulator: Any = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is an extra of this project"
    )
    pictures = ["--trainer.callbacks+=PolicyPictures", "--trainer.callbacks.every_n_epochs=1"]
    main(fit(tmp_path, "--run.tensorboard=true", "--run.compare=[plain]", *pictures))
    run = tmp_path / "digits"
    assert printed_commands(capsys) == {
        "metrics": f"{run}/metrics.csv",
        "learned policy": f"{run}/policy.json",
        "in the browser": f"tensorboard --logdir {run}",
    }
    events = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(events.Tags()["scalars"]) - {"hp_metric"} == set(rows[0]) - {"step"}
    (accuracy,) = events.Scalars("val/acc")
    (expected,) = [float(row["val/acc"]) for row in rows if row["val/acc"]]
    assert accuracy.value == pytest.approx(expected)
    assert events.Tags()["images"] == ["policy/augmentations"]
    assert events.Images("policy/augmentations")[0].width > 400
    (histogram,) = events.Histograms("influence/histogram")
    assert histogram.histogram_value.num == 64  # images of a batch
    assert (run / "plain" / "tensorboard").is_dir()


def test_without_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "tensorboard" else find_spec(name))
    with pytest.raises(SystemExit) as caught:
        main(fit(tmp_path, "--run.tensorboard=true"))
    assert caught.value.code == 2
    assert "error: run.tensorboard needs the package tensorboard: pip install" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # and `inspect` is younger than the lowest version of wandb
def test_the_printed_commands_find_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(fit(tmp_path, "--run.wandb=offline", "--run.test=false"))
    printed = printed_commands(capsys)
    assert list(printed) == ["metrics", "learned policy", "in the terminal", "upload to W&B"]
    assert Path(printed["metrics"]).is_file()
    *_, leet, run = shlex.split(printed["in the terminal"])
    assert leet == "leet"
    for command in (["beta", leet, "inspect", "--summary", run], ["sync", "--help"]):
        done = subprocess.run([sys.executable, "-m", "wandb", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "digits" in done.stdout or command[0] == "sync"
    assert shlex.split(printed["upload to W&B"]) == ["wandb", "sync", run]
