"""One run of a sweep: train a classifier, and measure its accuracy in the domain and out of it."""

import time
from functools import partial
from importlib.metadata import version
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from augnet import load_policy
from augnet.baselines import make_baseline
from augnet.baselines.base import Baseline
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.trainer import AugfluenceTrainer
from lightning_modules.data import ImageDataModule, InfluenceDataModule, LabelledImages
from lightning_modules.data.labelled_images import make_loader

from .corruptions import check_corruptions, corrupted_copy
from .frozen_views import Augment, FrozenViews
from .setting import Setting, Training

_EVALUATION_BATCH = 500


def train_and_measure(setting: Setting) -> dict[str, Any]:
    """Train one classifier and measure it on the validation split.

    Args:
        setting: The run.

    Returns:
        `accuracy` on the validation images, `corrupted` (name -> accuracy), both in [0, 1]; `train_loss` of the last
        epoch, on augmented images; `seconds`; `torch` (its version).

    Raises:
        ValueError: If data, model or corruptions do not fit together.
    """
    started = time.perf_counter()
    pl.seed_everything(setting.run_seed, verbose=False)
    data = data_of(setting)
    measured = setting.measurement
    check_corruptions(measured.corruptions, measured.severity, data.in_channels)
    trainer, model = fit_classifier(setting, data)
    train_loss = float(trainer.callback_metrics["train/loss"])  # predicting clears it
    validation = data.splits.validation
    corrupted = {
        name: accuracy_of(trainer, model, corrupted_copy(validation, name, measured.severity, setting.run_seed))
        for name in measured.corruptions
    }
    return {
        "accuracy": accuracy_of(trainer, model, validation),
        "corrupted": corrupted,
        "train_loss": train_loss,
        "seconds": round(time.perf_counter() - started, 2),
        "torch": version("torch"),
    }


def view_maker(setting: Setting) -> Augment:
    """The policy of a setting as a function of images and labels.

    Raises:
        ValueError: If the policy mixes images: their labels would have to be frozen as well.
    """
    base = None if setting.base == "none" else make_baseline(setting.base)
    learned = None if setting.policy_file is None else load_policy(setting.policy_file)
    if not isinstance(base, Baseline | None) or (learned is not None and learned.space.mixes):
        raise ValueError(f"views: {setting.policy} mixes labels and cannot be frozen; leave it out.")

    def augment(images: Tensor, labels: Tensor) -> Tensor:
        images = images if base is None else base(images)
        return images if learned is None else learned(images, labels)[0]

    return augment


def data_of(setting: Setting) -> InfluenceDataModule:
    """The data of a run: the splits are those of its seed and size."""
    options: dict[str, Any] = {
        "train_size": setting.size,
        "influence_size": setting.measurement.influence_size,
        "val_size": setting.measurement.val_size,
        "image_size": setting.measurement.image_size,
        "batch_size": setting.training.batch_size,
        "seed": setting.run_seed,
    }
    if setting.views == 0:
        return ImageDataModule(setting.path, **options)
    return FrozenViews(setting.path, view_maker(setting), setting.views, **options)


def fit_classifier(setting: Setting, data: InfluenceDataModule) -> tuple[AugfluenceTrainer, AugmentedClassifier]:
    """Train the classifier of a run; seed the generators before, for runs that can be repeated.

    Args:
        setting: The run.
        data: From `data_of`.

    Returns:
        The trainer, whose metrics are those of training, and the trained classifier.
    """
    model, trainer = model_of(setting, data), trainer_of(setting.training)
    trainer.fit(model, datamodule=data)
    return trainer, model


def predict(trainer: AugfluenceTrainer, model: AugmentedClassifier, images: LabelledImages) -> Tensor:
    """Class probabilities `[N, K]` of images as they are, on the CPU."""
    batches = cast(list[Tensor], trainer.predict(model, make_loader(images, _EVALUATION_BATCH, 0)))
    return torch.cat(batches).cpu()


def model_of(setting: Setting, data: InfluenceDataModule) -> AugmentedClassifier:
    """A classifier behind the fixed policy, or behind none where the views are frozen already."""
    policy_file = None if setting.views else setting.policy_file
    return classifier_of(
        setting.training,
        data,
        base_policy="none" if setting.views else setting.base,
        policy_file=policy_file,
        control="plain" if policy_file is None else "none",
    )


def classifier_of(training: Training, data: InfluenceDataModule, **policy: Any) -> AugmentedClassifier:
    """An untrained classifier for the images of some data.

    Args:
        training: Its network and optimiser.
        data: The images.
        **policy: See `AugmentedClassifier`; without `ops`, a control without a policy or a policy file replaces them.
    """
    return AugmentedClassifier(
        **{"ops": ["rotation"], **policy},
        image_size=data.image_size,
        num_classes=data.num_classes,
        in_channels=data.in_channels,
        model=training.model,
        model_kwargs=dict(training.model_kwargs),
        optimizer=partial(
            torch.optim.SGD, lr=training.lr, momentum=0.9, nesterov=True, weight_decay=training.weight_decay
        ),
        pixel_mean=training.pixel_mean,
        pixel_std=training.pixel_std,
    )


def trainer_of(training: Training) -> AugfluenceTrainer:
    """A trainer that trains and leaves nothing on disk."""
    return AugfluenceTrainer(
        accelerator=training.accelerator,
        devices=1,
        precision=training.precision,
        max_epochs=-1,
        max_steps=training.steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def accuracy_of(trainer: AugfluenceTrainer, model: AugmentedClassifier, images: LabelledImages) -> float:
    """Accuracy in [0, 1] on images as they are."""
    return float((predict(trainer, model, images).argmax(dim=1) == images.labels).double().mean())
