"""A callback that keeps the policy file of a run up to date."""

from pathlib import Path

import pytorch_lightning as pl

from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation


class PolicyWriter(pl.Callback):
    """Writes `policy.json` and `policy.safetensors` after every training epoch.

    Args:
        folder: Where to; by default the run's folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self._trained = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace both files, atomically."""
        self._trained = True
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace both files once more: a staged policy is learned after the last epoch, weights may be averaged."""
        if self._trained:  # a resumed run with no epoch left has nothing new
            self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        augmentation = LearnedAugmentation.of(trainer)
        if augmentation is not None:
            folder = Path(self.folder or trainer.default_root_dir).absolute()
            augmentation.write_policy(trainer, folder / "policy.json")
