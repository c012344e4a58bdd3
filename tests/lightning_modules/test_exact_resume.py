"""A run that was killed and resumed ends bit for bit like one that was not."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from lightning_modules.callbacks import ExactResume
from lightning_modules.commands.cli import main
from lightning_modules.data.resumable import ResumableLoader

ROOT = Path(__file__).parents[2]
KILLED_AT = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID", "0")).randrange(12, 35)  # 15 steps an epoch


def arguments(folder: Path, *more: str) -> list[str]:
    settings = {
        "config": ROOT / "configs" / "digits.yaml",
        "data.image_size": 8,
        "data.batch_size": 64,
        "model.model_kwargs": "{width: 8}",
        "model.learner.warmup": 5,
        "model.learner.interval": 3,
        "trainer.max_epochs": 3,
        "trainer.enable_progress_bar": "false",
        "trainer.limit_val_batches": 2,
        "run.folder": folder,
        "run.compare": "[]",
        "run.test": "false",
        "run.wandb": "disabled",
        "run.threads": 1,
    }
    checkpoints = {
        "class_path": "ModelCheckpoint",
        "init_args.dirpath": folder / "every",
        "init_args.every_n_train_steps": 7,
        "init_args.save_last": "true",
    }
    options = [f"--{key}={value}" for key, value in settings.items()]
    options.append(f"--trainer.callbacks+={checkpoints.pop('class_path')}")
    options += [f"--trainer.callbacks.{key}={value}" for key, value in checkpoints.items()]
    return ["fit", *options, *more]


def same(first: Any, second: Any, where: str = "") -> None:
    """Bit-equal, all the way down."""
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for number, pair in enumerate(zip(first, second, strict=True)):
            same(*pair, f"{where}/{number}")
    elif isinstance(first, Tensor):
        assert torch.equal(first, second) or bool((first.isnan() & second.isnan()).all()), where
    else:
        assert first == second, where


def end_of(folder: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / "every" / "last.ckpt", weights_only=True)
    kept = {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}
    states = {name: checkpoint["callbacks"][name] for name in ("ExactResume", "LearnedAugmentation")}
    assert states["LearnedAugmentation"]["learner"]["updates"] > 0
    return {**kept, **states, "step": checkpoint["global_step"]}


@pytest.mark.slow
def test_kill_minus_nine_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])
    main(arguments(tmp_path / "whole"))
    killer = ["--trainer.callbacks+=killer.KillAt", f"--trainer.callbacks.step={KILLED_AT}"]
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments(tmp_path / "broken", *killer)],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    checkpoint = tmp_path / "broken" / "every" / "last.ckpt"
    stopped = torch.load(checkpoint, weights_only=True)["global_step"]
    assert KILLED_AT - 7 <= stopped <= KILLED_AT
    main(arguments(tmp_path / "broken", f"--ckpt_path={checkpoint}"))
    whole, resumed = end_of(tmp_path / "whole"), end_of(tmp_path / "broken")
    assert whole["step"] > KILLED_AT
    same(whole, resumed)


def order(loader: ResumableLoader) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


def numbers(workers: int = 0) -> ResumableLoader:
    data = TensorDataset(torch.arange(23))
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    return ResumableLoader.shuffling(data, 4, torch.Generator().manual_seed(0), True, **options)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("batches", [0, 1, 3, 5])
def test_a_loader_goes_on_where_it_was(batches: int, workers: int) -> None:
    loader = numbers()
    order(loader)
    iterator = iter(loader)
    for _ in range(batches):
        next(iterator)
    state = loader.state_dict()
    rest = [batch[0].tolist() for batch in iterator] + order(loader)
    resumed = numbers(workers)
    resumed.load_state_dict(state)
    found = order(resumed)
    if batches in (0, 5):  # between two epochs
        expected = rest[-5:] if batches == 5 else None
        assert len(found) == 5
        assert expected is None or found == expected
    else:
        assert found + order(resumed) == rest


def test_random_states_go_through_a_file(tmp_path: Path) -> None:
    callback: Any = ExactResume()
    torch.save(callback.state_dict(), tmp_path / "state.ckpt")
    drawn = (torch.rand(3).tolist(), random.random(), np.random.rand())
    callback.load_state_dict(torch.load(tmp_path / "state.ckpt", weights_only=True))
    callback.on_train_batch_start(None, None, None, 0)
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == drawn
    callback.on_train_batch_start(None, None, None, 1)  # only once
    assert torch.rand(3).tolist() != drawn[0]
