"""Scores of every training image: a pass through the network, then `influence.attribution` on its features.

The mislabel score uses features averaged over shifted (and mirrored) copies of each image: a network that has memorized
an image with its label fits the image itself better than its copies. All other scores are of the original images.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from augnet.baselines import FlipCrop
from influence.attribution import attribute
from influence.refit import Samples
from lightning_modules.attribution.score_table import AttributionTable
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import InfluenceDataModule, LabelledImages, validate_images
from lightning_modules.data.labelled_images import make_loader
from lightning_modules.learner.checks import check_labels
from lightning_modules.learner.feature_capture import FeatureCapture, frozen
from lightning_modules.learner.head import find_last_linear
from lightning_modules.monitoring.progress import progress_bar

_SEED = 0


@dataclass(frozen=True)
class ShiftedCopies:
    """Copies of each image, over which the features for the mislabel score are averaged.

    Args:
        count: Copies of each image, >= 0; 0 takes the features of the image itself.
        mirror: True to mirror half of the copies, if a mirrored image keeps its class.
    """

    count: int
    mirror: bool

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"views must be at least 0, got {self.count}; 8 is usual.")


@dataclass(frozen=True)
class Precision:
    """Precision of the pass through the network.

    Attributes:
        convert: Converts images to the floating-point type of the network.
        context: Makes the autocast context of the trainer.
    """

    convert: Callable[[Tensor], Tensor]
    context: Callable[[], AbstractContextManager[Any]]


def attribute_images(
    model: Classifier,
    data: InfluenceDataModule,
    copies: ShiftedCopies,
    precision: Precision,
    show_progress: bool = True,
    images: LabelledImages | None = None,
) -> AttributionTable:
    """Score the training images of a data module.

    Args:
        model: The trained classifier, on its device; left as it is.
        data: The data it was trained with.
        copies: Copies of each image for the mislabel score.
        precision: Precision of the pass through the network.
        show_progress: False hides the progress bar.
        images: Some of the training images, to score as if there were no others; by default all.

    Returns:
        The table.

    Raises:
        ValueError: If images or labels are invalid, the influence set is trained on, or the network does not end in a
            linear layer.
    """
    if data.influence_source != "held_out":
        raise ValueError(
            "attribute scores the effect on images that were never trained on, and data.influence_source "
            f"{data.influence_source} trains on the influence images: train with held_out."
        )
    train, held_out = data.splits.train if images is None else images, data.splits.influence
    for split in (train, held_out):
        validate_images(split.__getitems__(range(min(len(split), 64)))[0])
        check_labels(split.labels, model.num_classes)
    with frozen(model), torch.no_grad(), progress_bar(show_progress) as bar:
        reader = _Reader(model, data, copies, precision)
        features, logits = reader.read(train, bar, "training images")
        held_out_features, _ = reader.read(held_out, bar, "influence set")
        of_copies = reader.read_copies(train, bar, "training images, copies") if copies.count else None
        task = bar.add_task("refit and scores", total=len(train) * (1 if of_copies is None else 2))
        scores = attribute(
            Samples(features, train.labels),
            logits,
            Samples(held_out_features, held_out.labels),
            views=of_copies,
            on_rows=lambda rows: bar.advance(task, rows),
        )
    return AttributionTable(
        images=train,
        class_names=data.class_names,
        predicted=logits.argmax(dim=1),
        loss=nn.functional.cross_entropy(logits, train.labels, reduction="none"),
        margin=_margin(logits, train.labels),
        scores=scores,
    )


class _Reader:
    """Reads features and logits of whole splits, in order."""

    def __init__(
        self, model: Classifier, data: InfluenceDataModule, copies: ShiftedCopies, precision: Precision
    ) -> None:
        self.model, self.data, self.copies, self.precision = model, data, copies, precision
        self.policy = FlipCrop(flip=0.5 if copies.mirror else 0.0).train()
        images, _ = data.splits.influence.__getitems__(range(min(len(data.splits.influence), 2)))
        with precision.context():
            head = find_last_linear(model.network, precision.convert(images.to(model.device)))
        self.capture = FeatureCapture(model.network, head)

    def read(self, images: LabelledImages, bar: Progress, name: str) -> tuple[Tensor, Tensor]:
        """Return features `[N, D]` and logits `[N, K]` of the original images, on the CPU."""
        parts = [self._pass(batch) for batch in self._batches(images, bar, name)]
        features, logits = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return features, logits

    def read_copies(self, images: LabelledImages, bar: Progress, name: str) -> Tensor:
        """Return features `[N, D]` averaged over the copies of each image, on the CPU; equal at every call."""
        generator = torch.Generator().manual_seed(_SEED)
        features = []
        for batch in self._batches(images, bar, name):
            copies = [self._pass(self.policy(batch, generator=generator))[0] for _ in range(self.copies.count)]
            features.append(torch.stack(copies).mean(dim=0))
        return torch.cat(features)

    def _batches(self, images: LabelledImages, bar: Progress, name: str) -> Iterator[Tensor]:
        """Return the images in order, `[B, C, H, W]`, on the device and in the floating-point type of the network."""
        task = bar.add_task(name, total=len(images))
        for batch, _ in make_loader(images, self.data.batch_size, self.data.num_workers):
            yield self.precision.convert(batch.to(self.model.device))
            bar.advance(task, len(batch))

    def _pass(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits of a batch, float32 on the CPU."""
        with self.precision.context():
            features, logits = self.capture(images.contiguous(memory_format=self.model.memory_format))
        return features.float().cpu(), logits.float().cpu()


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logit of the label minus the highest of the others, `[N]`."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], float("-inf")).amax(dim=1)
    return own[:, 0] - others
