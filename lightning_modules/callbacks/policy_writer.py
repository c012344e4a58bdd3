"""Keeps the policy file of a run up to date."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from augnet import save_policy
from lightning_modules.augmented_classifier import AugmentedClassifier


class PolicyWriter(pl.Callback):
    """Writes `policy.json` and `policy.safetensors` after every training epoch, and at the end of training.

    By then a callback that averages weights (SWA, EMA) has put the average into the module.

    Args:
        folder: Where to; by default the run's folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace both files, atomically."""
        if isinstance(pl_module, AugmentedClassifier) and pl_module.augnet is not None:
            folder = Path(self.folder or trainer.default_root_dir)
            save_policy(pl_module.augnet, folder / "policy.json")

    @rank_zero_only
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace them once more."""
        self.on_train_epoch_end(trainer, pl_module)
