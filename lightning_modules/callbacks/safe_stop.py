"""A run that is stopped, or stops by a fault, loses nothing and says how to go on."""

import os
import sys
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from fsspec.core import url_to_fs
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint

from lightning_modules.callbacks.interruption import Interrupted, PutOff
from lightning_modules.learner.ranks import Ranks


class SafeStop(Checkpoint):
    """On Ctrl-C or SIGTERM: finish the step, write `last.ckpt`, stop; resumed, a run ends as if it had never stopped.

    In the last step of an epoch, and while validating, the run stops after the epoch. A second signal stops at once,
    and what was saved before stays whole. With several processes it is enough that one of them got the signal.
    Whatever else ends a run, the exception gets a note that says what was saved last and how to go on.

    The trainer takes it for a checkpoint callback: give it a `ModelCheckpoint` too.
    """

    def __init__(self) -> None:
        self._signals = PutOff()
        self._ranks = Ranks()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put signals off; after Lightning has set its own handlers, and until it puts the former ones back."""
        several = trainer.world_size > 1
        self._ranks = Ranks(cast(dist.ProcessGroup, dist.new_group(backend="gloo")) if several else None)
        self._signals.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """If a signal came, save and stop; after the last batch of an epoch only save, as validation may be long."""
        self._stop_if_asked(trainer, raises=not trainer.is_last_batch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """If a signal came, save and stop."""
        self._stop_if_asked(trainer, raises=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on signals are not put off."""
        self._signals.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Say what was saved and how to go on."""
        self._signals.stop()
        note = how_to_go_on(trainer)
        exception.add_note(note)
        if isinstance(exception, Interrupted) and trainer.is_global_zero:
            print(f"{exception} {note}", file=sys.stderr)

    def _stop_if_asked(self, trainer: pl.Trainer, raises: bool) -> None:
        received = int(self._ranks.gather(torch.tensor([self._signals.received])).max())
        if not received:
            return
        trainer.save_checkpoint(_last(trainer))
        if raises:
            stop = Interrupted(received)
            if not trainer.is_global_zero:
                stop.code = os.EX_OK  # otherwise its parent, the first process, is killed before it has said anything
            raise stop


def how_to_go_on(trainer: pl.Trainer) -> str:
    """Return a message: the latest checkpoint, and the command that goes on from it."""
    names = [_last(trainer), *(one.best_model_path for one in _kept(trainer))]
    saved = next((name for name in names if name and _exists(name)), None)
    if saved is None:
        return "No checkpoint had been saved yet."
    folder = Path(trainer.default_root_dir)
    config = next((one / "config.yaml" for one in (folder, folder.parent) if (one / "config.yaml").exists()), None)
    command = "the same command with" if config is None else f"python train.py fit --config {config}"
    if config is not None and config.parent != folder:  # a control, in a folder inside that of the run
        command += f" --model.control {folder.name} --run.compare []"
    return f"The latest checkpoint is intact: {saved}\nTo go on from there: {command} --ckpt_path {saved}"


def _kept(trainer: pl.Trainer) -> list[ModelCheckpoint]:
    return [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint)]


def _last(trainer: pl.Trainer) -> str:
    """The `last.ckpt` of the run, where the first `ModelCheckpoint` puts its files."""
    for kept in _kept(trainer):
        return kept.last_model_path or os.path.join(kept.dirpath or trainer.default_root_dir, "last.ckpt")
    return os.path.join(trainer.default_root_dir, "checkpoints", "last.ckpt")


def _exists(name: str) -> bool:
    files, path = url_to_fs(name)
    return bool(files.exists(path))
