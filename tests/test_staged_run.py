"""The staged schedule through the real entry point."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb

from augnet import load_policy
from lightning_modules.commands.cli import AugfluenceCLI, main

pytestmark = pytest.mark.slow  # whole runs and commands

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "digits.yaml")


def arguments(folder: Path, *others: str) -> list[str]:
    return [
        f"--config={CONFIG}",
        f"--run.folder={folder}",
        "--run.wandb=disabled",
        "--run.compare=[]",
        "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false",
        "--data.image_size=16",
        *others,
    ]


STAGED = ("--model.schedule=staged", "--model.staged.steps=12")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[AugfluenceCLI, Path]:
    """A staged run that is compared with a control and with plain training."""
    folder = tmp_path_factory.mktemp("staged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        cli = main(["fit", *arguments(folder, *STAGED, "--run.compare=[plain, flipped]", "--run.wandb=offline")])
    return cli, folder / "digits"


def test_a_fresh_classifier_is_trained_behind_the_learned_policy(run: tuple[AugfluenceCLI, Path]) -> None:
    cli, folder = run
    assert [arm.name for arm in cli.arms] == [
        "learned",
        "plain",
        "flipped",
    ]
    learned = load_policy(folder / "policy.json").describe()
    assert cli.arms[0].ranges == learned
    assert load_policy(folder / "retrained" / "policy.json").describe() == learned
    assert cli.arms[2].ranges != learned
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary["test_accuracy"]) == ["learned", "plain", "flipped"]
    assert not (folder / "plain").exists()


def test_what_the_stage_showed_is_in_the_metrics(run: tuple[AugfluenceCLI, Path]) -> None:
    text = (run[1] / "metrics.csv").read_text()
    for key in ("influence/mean", "range/rotation", "policy/retention", "policy/pixel_change"):
        assert key in text.splitlines()[0]
    assert (run[1] / "ranges.png").is_file()


def test_a_retrained_classifier_is_resumed_with_its_policy(run: tuple[AugfluenceCLI, Path], tmp_path: Path) -> None:
    folder = run[1]
    checkpoint = folder / "retrained" / "checkpoints" / "last.ckpt"
    again = f"--ckpt_path={checkpoint}", f"--model.policy_file={folder / 'policy.json'}"
    cli = main(["fit", *arguments(tmp_path, *STAGED, *again)])
    written: Any = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, written[name]) for name, value in cli.model.state_dict().items())


def test_without_a_test_split_the_fresh_classifier_is_trained_all_the_same(tmp_path: Path) -> None:
    main(["fit", *arguments(tmp_path, *STAGED, "--run.test=false", "--run.wandb=offline")])
    assert (tmp_path / "digits" / "retrained" / "checkpoints" / "last.ckpt").is_file()
    assert not (tmp_path / "digits" / "summary.json").exists()
    check_wandb_runs(tmp_path / "digits")


def test_each_classifier_has_a_wandb_run_of_its_own(run: tuple[AugfluenceCLI, Path]) -> None:
    check_wandb_runs(run[1])


def check_wandb_runs(folder: Path) -> None:
    """One for the stage that learned, one for the classifier that was trained with what it learned, none left open."""
    assert wandb.run is None
    for each in (folder, folder / "retrained"):
        assert len(list(each.glob("wandb/offline-run-*"))) == 1


def test_pretraining_without_fields_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", *arguments(tmp_path, *STAGED, "--model.staged.pretrain=5")])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: staged.pretrain is for policy field, found range: set it to 0.")
    assert list(tmp_path.iterdir()) == []
