"""Commands of `train.py` inside of a run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lightning_modules.commands.cli import build_cli
from lightning_modules.commands.terminal import quieten

CONFIGS = Path(__file__).parents[1] / "configs"


def call(command: str, config: Path, options: Mapping[str, Any]) -> None:
    """Run a command of `train.py`, without a progress bar and with the threads of this process.

    Args:
        command: `fit`, `adapt` or `attribute`.
        config: Its configuration file.
        options: Its further options; None is `null`.

    Raises:
        ValueError: If an option makes no sense.
    """
    quieten()
    shared = {"run.threads": torch.get_num_threads(), "trainer.enable_progress_bar": False}
    words = [f"--{name}={_word(value)}" for name, value in {**shared, **options}.items()]
    build_cli([command, f"--config={config}", *words])


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary that a command left in a folder."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | Path) else json.dumps(value)
