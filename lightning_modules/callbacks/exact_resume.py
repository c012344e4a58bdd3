"""Random states in checkpoints, so that a resumed run draws what the uninterrupted one would have drawn."""

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class ExactResume(pl.Callback):
    """Saves the state of every random generator a training step may use, and restores it before the next step.

    With the optimizer, the schedule and the place in the data, which Lightning and the data module keep, a run that
    was killed and resumed on the same machine ends bit for bit like one that was not.
    """

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before the first step after a checkpoint was loaded: everything that came since is forgotten."""
        if self._resumed is None:
            return
        state, self._resumed = self._resumed, None
        torch.set_rng_state(state["torch"].cpu())
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
        version, keys, gauss = state["python"]
        random.setstate((version, tuple(keys), gauss))
        name, numbers, position, has_gauss, cached = state["numpy"]
        np.random.set_state((name, np.array(numbers, dtype=np.uint32), position, has_gauss, cached))

    def state_dict(self) -> dict[str, Any]:
        """Tensors, lists and numbers only: checkpoints load with `weights_only=True`."""
        version, keys, gauss = random.getstate()
        name, numbers, position, has_gauss, cached = np.random.get_state(legacy=True)
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "python": [version, list(keys), gauss],
            "numpy": [str(name), [int(number) for number in numbers], position, has_gauss, cached],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until the first step."""
        self._resumed = state_dict
