"""Small finished runs for tests of analyses."""

import sys
from pathlib import Path

import pytest

from lightning_modules.commands.cli import main

DIGITS = Path(__file__).parents[2] / "configs" / "digits.yaml"
QUIET = ("--trainer.enable_progress_bar=false", "--run.compare=[]", "--run.wandb=disabled", "--run.test=false")


def digits_run(folder: Path, *settings: str) -> Path:
    """Train on digits of 16 pixels for an epoch, and return the run's folder."""
    small = ("--data.image_size=16", "--trainer.max_epochs=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        cli = main(["fit", f"--config={DIGITS}", f"--run.folder={folder}", *small, *QUIET, *settings])
    return cli.run_folder
