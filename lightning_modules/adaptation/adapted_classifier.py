"""Adaptation of a trained classifier to a change: memory, points, and training."""

import time
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from influence.k_priors import Memory, Selection, select_memory
from lightning_modules.adaptation.adaptation_module import Adaptation
from lightning_modules.adaptation.change import Change, ChangedImages
from lightning_modules.adaptation.points import Method, Points, make_plan
from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import InfluenceDataModule
from lightning_modules.data.labelled_images import make_loader
from lightning_modules.learner.feature_capture import frozen


@dataclass(frozen=True)
class AdaptationSettings:
    """Method of an adaptation, and the memory of the past that it uses.

    Args:
        method: `k_prior`, or what it is compared with: `replay` (the memory by its labels), `fine_tune` (the added
            images alone), `retrain` (everything, from random weights).
        fraction: Share of the past images in the memory, in (0, 1].
        selection: See `influence.select_memory`.
        lr: Highest learning rate; `None` takes that of the model.
    """

    method: Method
    fraction: float
    selection: Selection
    lr: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"memory must lie in (0, 1], found {self.fraction}; 0.1 is a tenth of the past images.")
        if self.lr is not None and not 0 < self.lr <= 100:
            raise ValueError(f"lr must lie in (0, 100], found {self.lr}; 0.02 is usual.")


def adapt_classifier(
    trainer: pl.Trainer,
    teacher: Classifier,
    data: InfluenceDataModule,
    checkpoint: dict[str, Any],
    change: Change,
    settings: AdaptationSettings,
) -> tuple[Classifier, int, float]:
    """Adapt a classifier to a change.

    Args:
        trainer: Trains it, for `max_epochs` passes over the points.
        teacher: The old model, with the weights of the checkpoint; not changed.
        data: The data it was trained with.
        checkpoint: Checkpoint of the old model.
        change: The change.
        settings: Method, memory and learning rate.

    Returns:
        The adapted classifier, the number of images that it was adapted on, and the seconds to choose the memory and
        to train.

    Raises:
        ValueError: If rows, images, method, optimizer or policy are invalid.
    """
    images = ChangedImages.of(change, data)
    fresh = settings.method == "retrain" or change.model is not None
    student = _build(teacher, change, settings.lr, checkpoint, fresh)
    started = time.perf_counter()
    memory = _memory(trainer, teacher, data, images.kept, settings)
    plan = make_plan(settings.method, images.kept, images.removed, images.added, memory)
    old_decay = _weight_decay(checkpoint, teacher)
    decay = old_decay if change.weight_decay is None else change.weight_decay
    original = change.policy_file is not None
    module = Adaptation(student, teacher, plan, decay=decay, old_decay=old_decay, fresh=fresh, original=original)
    if (augmentation := LearnedAugmentation.of(trainer)) is not None:  # installed by the validation of the old model
        trainer.callbacks.remove(augmentation)  # type: ignore[attr-defined]
    points = Points(images.images, plan)
    shuffle = torch.Generator().manual_seed(data.seed)
    drop_last = fresh and len(points) >= data.batch_size  # batch statistics need a full batch
    with frozen(teacher):
        trainer.fit(module, make_loader(points, data.batch_size, data.num_workers, shuffle, drop_last))
    return student, len(points), time.perf_counter() - started


def _build(
    teacher: Classifier, change: Change, lr: float | None, checkpoint: dict[str, Any], fresh: bool
) -> Classifier:
    """Build the classifier to adapt: like the old one except for the change, with all old weights that fit."""

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        """Make the optimizer of the old model, without weight decay, which is in the weight term of the objective."""
        made = teacher.make_optimizer(parameters)
        if isinstance(made, torch.optim.AdamW):
            raise ValueError(
                "adapt adds the weight decay to the gradient, expected an optimizer with coupled decay, found AdamW: "
                "take --model.optimizer Adam or SGD."
            )
        for group in made.param_groups:
            group.update(lr=group["lr"] if lr is None else lr, weight_decay=0.0)
        return made

    known = {name: value for name, value in teacher.hparams.items() if not name.startswith("_")}
    student = type(teacher)(**{**known, **change.hyper_parameters(), "optimizer": optimizer})
    policy = ("augmentation.", "augnet.")
    anew = (*(("network.",) if fresh else ()), *(policy if change.policy_file is not None else ()))
    weights = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith(anew)}
    student.load_state_dict(weights, strict=False)
    return student


def _weight_decay(checkpoint: dict[str, Any], teacher: Classifier) -> float:
    """Return the weight decay of the checkpoint; without an optimizer state that of the configuration."""
    states = checkpoint.get("optimizer_states") or [teacher.make_optimizer(teacher.network.parameters()).state_dict()]
    return float(states[0]["param_groups"][0].get("weight_decay", 0.0))


def _memory(
    trainer: pl.Trainer, teacher: Classifier, data: InfluenceDataModule, kept: Tensor, settings: AdaptationSettings
) -> Memory:
    """Select the memory among the kept past images; only `top` needs predictions."""
    size = max(1, round(settings.fraction * len(kept)))
    probs = torch.zeros(len(kept), teacher.num_classes)
    if settings.selection == "top" and settings.method in ("k_prior", "replay"):
        loader = make_loader(data.training_images, data.batch_size, data.num_workers)
        batches: Any = trainer.predict(teacher, loader)
        probs = torch.cat(batches)[kept]
    return select_memory(probs, size, settings.selection, torch.Generator().manual_seed(data.seed))
