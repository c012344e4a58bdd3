"""Paths, names and folders of runs: expanded, or refused before training."""

import csv
import os
import sys
from pathlib import Path

import pytest
from image_files import write_image_folder
from tiny_runs import ROOT, tiny

from lightning_modules.commands.cli import main
from lightning_modules.monitoring.run_files import require_writable

CONFIG = ROOT / "configs" / "cifar10.yaml"
ONE_BATCH = ("--run.test=false", "--trainer.limit_train_batches=1", "--trainer.log_every_n_steps=1")


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a run that is refused."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", [".hidden", "../up", "/absolute", "a/", "x" * 300, "é" * 120, "two\nlines"])
def test_names_that_are_no_folder_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, *tiny(tmp_path / "runs", f"--run.name={name}"))
    assert f"run.name={name!r} cannot be the name of a folder" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("setting", ["name", "folder"])
def test_a_name_or_folder_of_nothing_is_refused(
    setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "nothing.yaml"
    config.write_text(f"run: {{{setting}: null}}")
    assert f"run.{setting} must be a name" in refusal(capsys, *tiny(tmp_path)[:2], f"--config={config}")


@pytest.mark.slow
def test_home_and_variables_in_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    name = "ü *?: [a] {b}"
    cli = main(tiny(Path("$RUNS"), f"--run.name={name}", *ONE_BATCH, epochs=1))
    run = tmp_path / "runs" / name
    assert cli.run_folder == run
    policy = f"--model.policy_file=~/runs/{name}/policy.json"
    frozen = main(tiny(Path("~/runs"), policy, "--run.name=frozen", *ONE_BATCH, epochs=1))
    assert frozen.model.hparams["policy_file"] == str(run / "policy.json")
    checkpoint = "~/runs/frozen/checkpoints/last.ckpt"
    resumed = tiny(Path("~/runs"), policy, f"--ckpt_path={checkpoint}", "--run.name=resumed", *ONE_BATCH, epochs=1)
    assert main(resumed).trainer.global_step == 1
    main(["predict", *resumed[1:]])
    assert (tmp_path / "runs" / "frozen" / "predictions.csv").is_file()
    unwritable = f"--folder=~/runs/{name}/policy.json/new"
    for command in (["attribute"], ["adapt", "--change.weight_decay=1e-3"]):
        said = refusal(capsys, *command, *resumed[1:], unwritable)
        assert "folder: nothing can be written into" in said
        assert "(Not a directory)" in said


def test_folders_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    said = refusal(capsys, *tiny(tmp_path / "file" / "runs"))
    assert f"run.folder: nothing can be written into {tmp_path / 'file'} (Not a directory)" in said
    require_writable(tmp_path / "new" / "one", "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    if Path("/proc").is_dir():
        with pytest.raises(ValueError, match="folder: nothing can be written into /proc"):
            require_writable(Path("/proc/runs"), "folder")
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(ValueError, match="Permission denied"):
            require_writable(tmp_path / "runs", "folder")


@pytest.mark.slow
def test_images_without_labels_are_predicted_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image_folder(tmp_path / "data" / "train", {"cat": 20, "dog": 20})
    write_image_folder(tmp_path / "data", {"test": 5}, seed=1)
    words = {"config": CONFIG, "data.path": tmp_path / "data", "data.influence_size": 4, "data.val_size": 4}
    words |= {"data.batch_size": 8, "run.folder": tmp_path / "runs", "run.compare": "[]", "run.wandb": "disabled"}
    words |= {
        "trainer.max_epochs": 1,
        "trainer.enable_progress_bar": "false",
        "model.model": "lightning_modules.classifier.models.SmallConvNet",
    }
    arguments = [f"--{name}={value}" for name, value in words.items()]
    assert "the test images have no labels" in refusal(capsys, "fit", *arguments)
    assert not (tmp_path / "runs").exists()
    main(["fit", *arguments, *ONE_BATCH])
    run = tmp_path / "runs" / "cifar10"
    main(["predict", *arguments, f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"])
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [str(tmp_path / "data" / "test" / f"{number}.png") for number in range(5)]
    assert {row["predicted"] for row in rows} <= {"cat", "dog"}
