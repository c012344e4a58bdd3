"""A toy classifier and toy data: a blob whose column is its class, in the middle row at training, shifted later."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.learner.settings import LearnerSettings

SIDE = 12
CLASSES = 3
OPS = {"translate_x": 0.4, "translate_y": 0.4}
Batch = tuple[Tensor, Tensor]


class ToyNet(nn.Module):
    """Everything an update must not touch: batch normalization, dropout, a frozen weight. It knows no shifts."""

    def __init__(self, num_classes: int = CLASSES, in_channels: int = 1, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_channels * SIDE * SIDE, width),
            nn.BatchNorm1d(width),
            nn.Tanh(),
            nn.Dropout(0.2),
        )
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.scale * self.body(images))
        return logits


class SoftmaxNet(ToyNet):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).softmax(dim=1)


class ConvolutionNet(nn.Sequential):
    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__(nn.Conv2d(in_channels, num_classes, SIDE), nn.Flatten())


def blobs(count: int, shift: float, seed: int, channels: int = 1) -> Batch:
    """Blobs left, in the middle and right (the classes), each moved up or down by up to `shift` pixels, with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    rows = (2 * torch.rand(count, generator=generator) - 1) * shift
    columns = 2.0 * (labels - 1) + 0.5 * torch.randn(count, generator=generator)
    axis = torch.arange(SIDE) - (SIDE - 1) / 2
    squares = (axis[:, None] - rows[:, None, None]) ** 2 + (axis - columns[:, None, None]) ** 2
    noise = torch.rand(squares.shape, generator=generator)
    images = 0.8 * torch.exp(-squares / 4.5) + 0.2 * noise
    return images.unsqueeze(1).repeat(1, channels, 1, 1), labels


class ToyData(pl.LightningDataModule):
    """Blobs: the training images in the middle row, the influence set and the validation images shifted."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.training = blobs(96, 0, 0, channels)
        self.influence = blobs(60, 2.5, 1, channels)
        self.validation = blobs(50, 2.5, 2, channels)

    def influence_set(self) -> Batch:
        return self.influence

    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(0)
        return DataLoader(TensorDataset(*self.training), batch_size=24, shuffle=True, generator=generator)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.validation), batch_size=24)

    def test_dataloader(self) -> DataLoader:
        return self.val_dataloader()


def toy_classifier(seed: int = 0, **arguments: Any) -> AugmentedClassifier:
    """A classifier of the toy data that updates its policy after every step."""
    pl.seed_everything(seed, verbose=False)
    settings: dict[str, Any] = {
        "ops": OPS,
        "model": "toys.ToyNet",
        "num_classes": CLASSES,
        "in_channels": 1,
        "learner": LearnerSettings(interval=1, warmup=0),
    }
    return AugmentedClassifier(**{**settings, **arguments})


def toy_trainer(**arguments: Any) -> pl.Trainer:
    """A silent trainer on the CPU; four steps an epoch."""
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{**settings, **arguments})
