"""Pictures of a policy: the same eight images over time, and the ranges over time."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from augnet import AugNet
from augnet.ops.registry import current_names
from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation
from lightning_modules.learner.batch_form import images_and_labels
from lightning_modules.monitoring.plots import as_pixels, augmentation_grid, plot_ranges, save_figure

_IMAGES = 8
_DRAWS = 4
_GRID, _HISTOGRAM = "policy/augmentations", "influence/histogram"


class PolicyPictures(pl.Callback):
    """Logs a grid of augmented images and a histogram of influences, and writes pictures at the end.

    `augmentations.png`: each column a training image, the original on top, draws of the policy below. `ranges.png`: the
    learned half-widths over training, as fractions of their bounds; for a mixture the probabilities of the ops, for a
    field network how much it changes.

    Args:
        every_n_epochs: Epochs from one logged grid to the next.
    """

    def __init__(self, every_n_epochs: int = 5) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, found {every_n_epochs}.")
        self.every_n_epochs = every_n_epochs
        self.images: Tensor | None = None
        self.labels: Tensor | None = None
        self.history: dict[int, dict[str, float]] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep eight images of the first batch."""
        augmentation = LearnedAugmentation.of(trainer)
        if self.images is None and augmentation is not None:
            images, labels = images_and_labels(batch, augmentation.label_key)
            self.images = augmentation.normalization.pixels(images[:_IMAGES]).detach().float().cpu()
            self.labels = labels[:_IMAGES].cpu()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the ranges; every few epochs, log pictures to W&B and TensorBoard."""
        augmentation = LearnedAugmentation.of(trainer)
        if augmentation is None or augmentation.learned is None or augmentation.staged is not None:
            return
        augnet = augmentation.learned
        self.history[trainer.global_step] = augnet.policy.shares(augnet.space)
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._log(trainer, augmentation, augnet)

    @rank_zero_only
    def _log(self, trainer: pl.Trainer, augmentation: LearnedAugmentation, augnet: AugNet[Any, Any]) -> None:
        step, update, influence = trainer.global_step, augmentation.last_update, None
        if update is not None and bool(update.influence.isfinite().all()):
            influence = update.influence.float().cpu().numpy()
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                import wandb  # a second to import, and not every run is logged there

                pictures = {_GRID: wandb.Image(augmentation_grid(self._rows(augnet)))}
                histogram = {} if influence is None else {_HISTOGRAM: wandb.Histogram(influence)}
                logger.experiment.log({**pictures, **histogram, "trainer/global_step": step})
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(_GRID, as_pixels(augmentation_grid(self._rows(augnet))), step)
                if influence is not None:
                    logger.experiment.add_histogram(_HISTOGRAM, influence, step)

    def _rows(self, augnet: AugNet[Any, Any]) -> Tensor:
        """Originals and draws, `[1 + draws, images, C, H, W]`; the draws are the same at every call."""
        if self.images is None or self.labels is None:
            raise RuntimeError("no images seen yet")
        generator = torch.Generator().manual_seed(0)
        device = next(augnet.parameters()).device
        images, labels = self.images.to(device), self.labels.to(device)
        with torch.no_grad():
            magnitudes = [augnet.sample(images, labels, generator) for _ in range(_DRAWS)]
            draws = [augnet.space.apply(images, row, generator=generator) for row in magnitudes]
        return torch.stack([images, *draws]).cpu()

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the two pictures into the run's folder."""
        augmentation = LearnedAugmentation.of(trainer)
        if augmentation is None or augmentation.learned is None or self.images is None:
            return
        folder, augnet = Path(trainer.default_root_dir), augmentation.learned
        save_figure(augmentation_grid(self._rows(augnet)), folder / "augmentations.png")
        history = {**self.history, **augmentation.staged_strengths}
        if history:
            save_figure(plot_ranges(history, augnet.policy.quantity), folder / "ranges.png")

    def state_dict(self) -> dict[str, Any]:
        """History and images, so that a resumed run draws all of it."""
        return {"history": self.history, "images": self.images, "labels": self.labels}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned, also in version 0.1.0, some of whose ops had other names."""
        self.images, self.labels = state_dict["images"], state_dict["labels"]
        self.history = {
            step: dict(zip(current_names(shares), shares.values(), strict=True))
            for step, shares in state_dict["history"].items()
        }
