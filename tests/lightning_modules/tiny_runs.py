"""Real runs of `train.py` that take seconds: in this process, or in one of their own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
STEPS = 15  # of an epoch


def tiny(folder: Path, *more: str, epochs: int = 2, config: str = "digits") -> list[str]:
    """Arguments of a run in a folder, compared with nothing."""
    settings = {
        "config": ROOT / "configs" / f"{config}.yaml",
        "data.image_size": 8,
        "data.batch_size": 64,
        "model.model_kwargs": "{width: 8}",
        "model.learner.warmup": 5,
        "model.learner.interval": 3,
        "trainer.max_epochs": epochs,
        "trainer.enable_progress_bar": "false",
        "trainer.limit_val_batches": 2,
        "run.folder": folder,
        "run.compare": "[]",
        "run.wandb": "disabled",
        "run.threads": 1,
    }
    return ["fit", *(f"--{key}={value}" for key, value in settings.items()), *more]


def with_callback(name: str, **arguments: Any) -> list[str]:
    """Arguments that add a callback of `killer`."""
    return [
        f"--trainer.callbacks+=killer.{name}",
        *(f"--trainer.callbacks.{key}={value}" for key, value in arguments.items()),
    ]


def start(*arguments: str, launcher: tuple[str, ...] = (sys.executable,), **more: Any) -> subprocess.Popen[str]:
    """Start `train.py`; Ctrl-C works in it even where it is ignored here."""
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [*launcher, str(ROOT / "train.py"), *arguments],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **more,
    )


def steps_of(checkpoint: Path) -> int:
    """How many steps a checkpoint was trained for; it must be whole."""
    return int(torch.load(checkpoint, weights_only=True)["global_step"])


def end_of(checkpoint: Path) -> dict[str, Any]:
    """All that decides how a run goes on."""
    saved = torch.load(checkpoint, weights_only=True)
    names = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")
    states = {name: saved["callbacks"][name] for name in ("ExactResume", "LearnedAugmentation")}
    return {**{name: saved[name] for name in names}, **states}


def command_in(message: str) -> list[str]:
    """The arguments of the command that a message tells to go on with."""
    found = re.search(r"To go on from there: python train\.py (.*)", message)
    assert found is not None, message
    return found[1].split()
