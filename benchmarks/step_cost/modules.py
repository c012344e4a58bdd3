"""A module of somebody else, a network with wide features, and kornia's policy as a layer."""

from typing import Any

import kornia.augmentation.auto as auto
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_modules.classifier.classifier import default_optimizer
from lightning_modules.classifier.models import WideResNet, build_model


class Foreign(pl.LightningModule):
    """A module as users write it, with this project's network and optimizer, so that these are the same.

    Args:
        model: See `build_model`.
        model_kwargs: See `build_model`.
        num_classes: K.
    """

    def __init__(self, model: str, model_kwargs: dict[str, Any], num_classes: int) -> None:
        super().__init__()
        self.network = build_model(model, num_classes, **model_kwargs).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, K]` of images `[B, C, H, W]` in [0, 1]."""
        normalized = (images - 0.5) / 0.25
        logits: Tensor = self.network(normalized.contiguous(memory_format=torch.channels_last))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        images, labels = batch[:2]
        loss = nn.functional.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """That of `Classifier`."""
        return default_optimizer(self.parameters())


class WideFeatures(nn.Module):
    """WRN-16-1 with a further layer in front of its head: features of any width at little cost.

    Args:
        num_classes: K.
        features: D.
    """

    def __init__(self, num_classes: int, features: int) -> None:
        super().__init__()
        self.body = WideResNet(features, depth=16, widen_factor=1)
        self.head = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, K]` of the images `[B, C, H, W]`."""
        logits: Tensor = self.head(self.body(images).relu())
        return logits


class KorniaTrivialAugment(nn.Module):
    """TrivialAugment of kornia.

    Args:
        per_sample: Call it image by image, so that each has an op of its own, as in the paper; kornia itself draws one
            op for all images that it is given.
    """

    def __init__(self, per_sample: bool) -> None:
        super().__init__()
        self.policy, self.per_sample = auto.TrivialAugment(), per_sample

    def forward(self, images: Tensor) -> Tensor:
        """Images `[B, C, H, W]` in [0, 1], augmented in training mode."""
        if not self.training:
            return images
        return torch.cat([self.policy(part) for part in images.split(1 if self.per_sample else len(images))])
