"""Scores of every training image: the pass through the network, then `influence.attribution` on its features.

For the mislabel score there are also features averaged over shifted (and mirrored) views of each image: a network that
has memorised an image with its label knows it best as it is. All else is of the images as they are.
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
from lightning_modules.commands.command_line import progress_bar
from lightning_modules.data import InfluenceDataModule, LabelledImages, validate_images
from lightning_modules.data.labelled_images import make_loader
from lightning_modules.learner.checks import check_labels
from lightning_modules.learner.feature_capture import FeatureCapture, find_last_linear
from lightning_modules.learner.frozen import frozen

_SEED = 0


@dataclass(frozen=True)
class Views:
    """What the features behind the mislabel score are averaged over.

    Args:
        count: Views of each image, >= 0; with 0 they are those of the image as it is.
        mirror: Whether half of the views are mirrored: right where a mirrored image keeps its class.
    """

    count: int
    mirror: bool

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"views must be at least 0, got {self.count}; 8 is usual.")


@dataclass(frozen=True)
class Precision:
    """How images pass through the network: its floating type, and autocast if it is trained with it."""

    convert: Callable[[Tensor], Tensor]
    context: Callable[[], AbstractContextManager[Any]]


def attribute_images(
    model: Classifier,
    data: InfluenceDataModule,
    views: Views,
    precision: Precision,
    show_progress: bool = True,
    images: LabelledImages | None = None,
) -> AttributionTable:
    """Score the training images of a data module.

    Args:
        model: The trained classifier, on its device; left as it is.
        data: The data it was trained with.
        views: What the features behind the mislabel score are averaged over.
        precision: How images pass through the network.
        show_progress: Whether to show a progress bar.
        images: Some of the training images, to score as if there were no others; by default all.

    Returns:
        The table.

    Raises:
        ValueError: If images or labels are invalid, the influence set is trained on, or the network does not end in a
            linear layer.
    """
    if data.influence_mode != "held_out":
        raise ValueError(
            "attribute asks what helps on images that were never trained on, and data.influence_set "
            f"{data.influence_mode} trains on the influence images: train with held_out."
        )
    train, held_out = data.splits.train if images is None else images, data.splits.influence
    for split in (train, held_out):
        validate_images(split.__getitems__(range(min(len(split), 64)))[0])
        check_labels(split.labels, model.num_classes)
    with frozen(model), torch.no_grad(), progress_bar(show_progress) as bar:
        reader = _Reader(model, data, views, precision)
        features, logits = reader.read(train, bar, "training images")
        held_out_features, _ = reader.read(held_out, bar, "influence set")
        seen = reader.read_views(train, bar, "training images, views") if views.count else None
        task = bar.add_task("refit and scores", total=len(train) * (1 if seen is None else 2))
        scores = attribute(
            Samples(features, train.labels),
            logits,
            Samples(held_out_features, held_out.labels),
            views=seen,
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

    def __init__(self, model: Classifier, data: InfluenceDataModule, views: Views, precision: Precision) -> None:
        self.model, self.data, self.views, self.precision = model, data, views, precision
        self.policy = FlipCrop(flip=0.5 if views.mirror else 0.0).train()
        images, _ = data.splits.influence.__getitems__(range(min(len(data.splits.influence), 2)))
        with precision.context():
            head = find_last_linear(model.network, precision.convert(images.to(model.device)))
        self.capture = FeatureCapture(model.network, head)

    def read(self, images: LabelledImages, bar: Progress, name: str) -> tuple[Tensor, Tensor]:
        """Features `[N, D]` and logits `[N, K]` of the images as they are; on the CPU."""
        parts = [self._pass(batch) for batch in self._batches(images, bar, name)]
        features, logits = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return features, logits

    def read_views(self, images: LabelledImages, bar: Progress, name: str) -> Tensor:
        """Features `[N, D]` averaged over the views of each image; on the CPU. The same at every call."""
        generator = torch.Generator().manual_seed(_SEED)
        features = []
        for batch in self._batches(images, bar, name):
            views = [self._pass(self.policy(batch, generator=generator))[0] for _ in range(self.views.count)]
            features.append(torch.stack(views).mean(dim=0))
        return torch.cat(features)

    def _batches(self, images: LabelledImages, bar: Progress, name: str) -> Iterator[Tensor]:
        """The images in order, `[B, C, H, W]`, on the device and in the type of the network."""
        task = bar.add_task(name, total=len(images))
        for batch, _ in make_loader(images, self.data.batch_size, self.data.num_workers):
            yield self.precision.convert(batch.to(self.model.device))
            bar.advance(task, len(batch))

    def _pass(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with self.precision.context():
            features, logits = self.capture(images.contiguous(memory_format=self.model.memory_format))
        return features.float().cpu(), logits.float().cpu()


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], float("-inf")).amax(dim=1)
    return own[:, 0] - others
