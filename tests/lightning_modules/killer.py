"""Callbacks that do harm to their own run: as a power cut does, as Ctrl-C, as a full disk."""

import os
import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from small_disk import fill


class KillAt(pl.Callback):
    """Send SIGKILL after a training step.

    Args:
        step: Which one.
        rank: In which of several processes.
    """

    def __init__(self, step: int, rank: int = 0) -> None:
        self.step, self.rank = step, rank

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step >= self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), signal.SIGKILL)


class SignalAt(pl.Callback):
    """Send a signal once, in the middle of something.

    Args:
        step: Not before this many steps.
        number: Of the signal.
        hook: Where.
        times: How often, one right after the other.
        group: Whether all processes of the group get it, as from a terminal.
        rank: In which of several processes; by default in all.
    """

    def __init__(
        self,
        step: int,
        number: int = 2,
        hook: str = "on_train_batch_start",
        times: int = 1,
        group: bool = False,
        rank: int | None = None,
    ) -> None:
        self.step, self.number, self.times, self.group, self.rank = step, number, times, group, rank
        setattr(self, hook, self._send)

    def _send(self, trainer: pl.Trainer, *arguments: Any, **more: Any) -> None:
        if trainer.sanity_checking or trainer.global_step < self.step or self.times == 0:
            return
        if self.rank not in (None, trainer.global_rank):
            return
        times, self.times = self.times, 0
        for _ in range(times):
            if self.group:
                os.killpg(os.getpgrp(), self.number)
            else:
                os.kill(os.getpid(), self.number)


class SecondRun(SignalAt):
    """Send it in the second training that the process makes, of a control."""

    _trainings = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        type(self)._trainings += 1

    def _send(self, trainer: pl.Trainer, *arguments: Any, **more: Any) -> None:
        if self._trainings == 2:
            super()._send(trainer, *arguments, **more)


class FillDisk(pl.Callback):
    """Leave hardly any space on the file system of a folder after some steps.

    Args:
        step: How many.
        folder: Where.
        leave: Kilobytes that stay free.
    """

    def __init__(self, step: int, folder: str, leave: int = 0) -> None:
        self.step, self.folder, self.leave = step, folder, leave

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            fill(Path(self.folder), self.leave)
