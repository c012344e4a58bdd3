"""A callback that kills its own process, as a power cut would."""

import os
import signal
from typing import Any

import pytorch_lightning as pl


class KillAt(pl.Callback):
    """Send SIGKILL after a training step.

    Args:
        step: Which one.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step >= self.step:
            os.kill(os.getpid(), signal.SIGKILL)
