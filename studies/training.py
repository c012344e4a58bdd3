"""Train an image classifier for a fixed number of steps, and ask it for its predictions."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor

from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.terminal import quieten
from lightning_modules.commands.trainer import AugfluenceTrainer
from lightning_modules.data import InfluenceDataModule, LabelledImages
from lightning_modules.data.labelled_images import make_loader
from lightning_modules.learner.checks import require_at_least

_MODELS = "lightning_modules.classifier.models"
_EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Training:
    """Network and optimization of a classifier: SGD, as many steps whatever the number of images.

    Args:
        steps: Training steps.
        batch_size: Images a batch; smaller training sets are taken whole.
        model: The network: a class of `lightning_modules.classifier.models`, or the full name of another.
        model_kwargs: Its further arguments.
        lr: Highest learning rate of one warm-up and cosine decay to zero; Nesterov momentum is 0.9.
        weight_decay: Of all weights.
        pixel_mean: Subtracted from every pixel in front of the network.
        pixel_std: Every pixel is divided by it after that.
        precision: Of the arithmetic, as Lightning names it.
        accelerator: Lightning's name; one device.
    """

    steps: int = 2000
    batch_size: int = 128
    model: str = "SmallConvNet"
    model_kwargs: dict[str, Any] = field(default_factory=dict)
    lr: float = 0.1
    weight_decay: float = 5e-4
    pixel_mean: float | list[float] = 0.5
    pixel_std: float | list[float] = 0.25
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        require_at_least(1, steps=self.steps, batch_size=self.batch_size)
        if not (self.lr > 0 and self.weight_decay >= 0):
            raise ValueError(f"expected lr > 0 and weight_decay >= 0, found {self.lr} and {self.weight_decay}.")

    def describe(self) -> str:
        """Return a sentence for a page."""
        words = " ".join([self.model.rpartition(".")[2], *(f"{k} {v}" for k, v in self.model_kwargs.items())])
        return (
            f"{words}, {self.steps:,} steps of {self.batch_size} for every classifier, SGD, one cycle to {self.lr:g}, "
            f"{self.precision}."
        )


def classifier_of(training: Training, data: InfluenceDataModule, **arguments: Any) -> AugmentedClassifier:
    """Return an untrained classifier for the images of some data.

    Args:
        training: Its network and optimizer.
        data: The images.
        **arguments: See `AugmentedClassifier`; `ops` may be left out where no policy is learned from them.
    """
    data.check_one_label("this study")
    return AugmentedClassifier(
        **{"ops": ["rotation"], **arguments},
        image_size=data.image_size,
        num_classes=data.num_classes,
        in_channels=data.in_channels,
        model=training.model if "." in training.model else f"{_MODELS}.{training.model}",
        model_kwargs=dict(training.model_kwargs),
        optimizer=partial(
            torch.optim.SGD, lr=training.lr, momentum=0.9, nesterov=True, weight_decay=training.weight_decay
        ),
        pixel_mean=training.pixel_mean,
        pixel_std=training.pixel_std,
    )


def silent_trainer(**options: Any) -> AugfluenceTrainer:
    """Return a trainer that validates nothing, prints nothing and leaves nothing on disk; options as `pl.Trainer`."""
    quieten()
    return AugfluenceTrainer(
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def trainer_of(training: Training) -> AugfluenceTrainer:
    """Return a silent trainer for the steps of a training."""
    return silent_trainer(
        accelerator=training.accelerator,
        devices=1,
        precision=training.precision,
        max_epochs=-1,
        max_steps=training.steps,
    )


def predict(trainer: AugfluenceTrainer, model: AugmentedClassifier, images: LabelledImages) -> Tensor:
    """Return class probabilities `[N, K]` of images as they are, on the CPU."""
    batches = cast(list[Tensor], trainer.predict(model, make_loader(images, _EVALUATION_BATCH, 0)))
    return torch.cat(batches).cpu()


def accuracy_of(trainer: AugfluenceTrainer, model: AugmentedClassifier, images: LabelledImages) -> float:
    """Return the accuracy in [0, 1] on images as they are."""
    return float((predict(trainer, model, images).argmax(dim=1) == images.labels).double().mean())
