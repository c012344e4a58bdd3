"""From a checkpoint and what shall be different to an adapted classifier: what `train.py adapt` does."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from influence.k_priors import Memory, Selection, select_memory
from lightning_modules.adaptation.points import Method, Plan, Points, make_plan
from lightning_modules.adaptation.student import Adaptation
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import InfluenceDataModule, LabelledImages
from lightning_modules.data.images import open_images
from lightning_modules.data.joined import join
from lightning_modules.data.labelled_images import make_loader
from lightning_modules.data.rows import ROW_FILES, read_rows
from lightning_modules.learner.frozen import frozen


@dataclass(frozen=True, kw_only=True)
class Change:
    """What shall be different from the checkpoint; at least one of them.

    Args:
        add: Images to add: a folder, parquet files or a hub name, with the classes of the data; or a file (.txt, .csv)
            of rows of the training split that the checkpoint was not trained on.
        remove: Images to forget: a file of rows of the training split, one a line, or a CSV file with a column
            `index`, such as chosen rows of `attribution.csv`.
        weight_decay: Another weight decay, >= 0.
        policy_file: Another augmentation policy: a file that a run has saved.
        model: Another network, see `model.model`: the old model is distilled into it.
        model_kwargs: Its further arguments.
    """

    add: str | None = None
    remove: str | None = None
    weight_decay: float | None = None
    policy_file: str | None = None
    model: str | None = None
    model_kwargs: dict[str, Any] | None = None

    def check(self) -> None:
        """Raise ValueError or FileNotFoundError if nothing is to change, or a value makes no sense."""
        if all(value is None for value in (self.add, self.remove, self.weight_decay, self.policy_file, self.model)):
            raise ValueError(
                "nothing is to change: give change.add, change.remove, change.weight_decay, change.policy_file or "
                "change.model."
            )
        if self.weight_decay is not None and not self.weight_decay >= 0:
            raise ValueError(f"change.weight_decay must be at least 0, found {self.weight_decay}.")
        if self.policy_file is not None and not Path(self.policy_file).is_file():
            raise FileNotFoundError(f"change.policy_file: there is no file {self.policy_file}.")
        if self.model_kwargs is not None and self.model is None:
            raise ValueError("change.model_kwargs are those of change.model: give that too.")

    def hyper_parameters(self) -> dict[str, Any]:
        """What the changed classifier is built with differently."""
        changed: dict[str, Any] = {}
        if self.policy_file is not None:
            changed |= {"policy_file": self.policy_file, "control": "none"}
        if self.model is not None:
            changed |= {"model": self.model, "model_kwargs": self.model_kwargs}
        return changed


@dataclass(frozen=True)
class Recall:
    """How the past is remembered.

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
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr must be positive, found {self.lr}; 0.02 is usual.")


@dataclass(frozen=True)
class Images:
    """Past and added images under one index, and which of them stay, go and come."""

    images: LabelledImages
    kept: Tensor
    removed: Tensor
    added: Tensor

    @classmethod
    def of(cls, change: Change, data: InfluenceDataModule) -> "Images":
        """Read what is to be added and removed."""
        train = data.training_images
        none = torch.zeros(0, dtype=torch.int64)
        images, added = train, none
        if change.add is not None and Path(change.add).suffix in ROW_FILES:
            added = read_rows(change.add, len(train), "change.add")
        elif change.add is not None:
            images = join([train, open_images(change.add, data, "change.add")])
            added = torch.arange(len(train), len(images))
        removed = none if change.remove is None else read_rows(change.remove, len(train), "change.remove")
        both = removed[torch.isin(removed, added)]
        if len(both):
            raise ValueError(f"change.add and change.remove share rows, {both[:5].tolist()} first: leave them out.")
        kept = torch.arange(len(train))
        return cls(images, kept[~torch.isin(kept, torch.cat([added, removed]))], removed, added)


@dataclass(frozen=True)
class Adapted:
    """An adapted classifier, the points it was adapted on, and the time that choosing them and training took."""

    student: Classifier
    plan: Plan
    seconds: float


def adapt_classifier(
    trainer: pl.Trainer,
    teacher: Classifier,
    data: InfluenceDataModule,
    checkpoint: dict[str, Any],
    change: Change,
    recall: Recall,
) -> Adapted:
    """Adapt a classifier to what has changed.

    Args:
        trainer: Trains it, for `max_epochs` passes over the points.
        teacher: The old model, with the weights of the checkpoint; left as it is.
        data: The data it was trained with.
        checkpoint: Of the old model.
        change: What shall be different.
        recall: How the past is remembered.

    Raises:
        ValueError: If rows, images, method or policy make no sense.
    """
    images = Images.of(change, data)
    fresh = recall.method == "retrain" or change.model is not None
    student = _build(teacher, change, recall.lr, checkpoint, fresh)
    started = time.perf_counter()
    plan = make_plan(
        recall.method, images.kept, images.removed, images.added, _memory(trainer, teacher, data, images, recall)
    )
    old_decay = _weight_decay(checkpoint, teacher)
    decay = old_decay if change.weight_decay is None else change.weight_decay
    points = Points(images.images, plan)
    shuffle = torch.Generator().manual_seed(data.seed)
    drop_last = fresh and len(points) >= data.batch_size  # batch statistics need a full batch
    module = Adaptation(
        student,
        teacher,
        plan,
        decay=decay,
        old_decay=old_decay,
        fresh=fresh,
        original=change.policy_file is not None,
    )
    with frozen(teacher):
        trainer.fit(module, make_loader(points, data.batch_size, data.num_workers, shuffle, drop_last))
    return Adapted(student, plan, time.perf_counter() - started)


def _build(
    teacher: Classifier, change: Change, lr: float | None, checkpoint: dict[str, Any], fresh: bool
) -> Classifier:
    """The classifier to adapt: built like the old one but for the change, with all old weights that fit it."""

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        """The optimiser of the old one, at another learning rate; the decay is in the weight term."""
        made = teacher.make_optimizer(parameters)
        if isinstance(made, torch.optim.AdamW):
            raise ValueError(
                "adapt adds the weight decay to the gradient, and AdamW keeps it apart, which is another objective: "
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
    """The weight decay that the checkpoint was trained with; that of the configuration if it does not say."""
    states = checkpoint.get("optimizer_states") or [teacher.make_optimizer(teacher.network.parameters()).state_dict()]
    return float(states[0]["param_groups"][0].get("weight_decay", 0.0))


def _memory(
    trainer: pl.Trainer, teacher: Classifier, data: InfluenceDataModule, images: Images, recall: Recall
) -> Memory:
    """Choose the memory among the past images that stay; only `top` looks at them."""
    kept = images.kept
    size = max(1, round(recall.fraction * len(kept)))
    probs = torch.zeros(len(kept), teacher.num_classes)
    if recall.selection == "top" and recall.method in ("k_prior", "replay"):
        loader = make_loader(data.training_images, data.batch_size, data.num_workers)
        batches: Any = trainer.predict(teacher, loader)
        probs = torch.cat(batches)[kept]
    return select_memory(probs, size, recall.selection, torch.Generator().manual_seed(data.seed))
