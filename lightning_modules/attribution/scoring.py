"""Scores of every training image: a pass through the network, then `influence.attribution` on its features.

The mislabel score uses features averaged over shifted (and mirrored) copies of each image: a network that has memorized
an image with its label fits the image itself better than its copies. All other scores are of the original images.
"""

from collections.abc import Iterator

import torch
from pytorch_lightning.plugins.precision import Precision
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


def attribute_images(
    model: Classifier,
    data: InfluenceDataModule,
    copies: int = 0,
    mirror: bool = False,
    precision: Precision | None = None,
    show_progress: bool = False,
    images: LabelledImages | None = None,
) -> AttributionTable:
    """Score the training images of a data module.

    Args:
        model: The trained classifier, on its device; left as it is.
        data: The data it was trained with.
        copies: Shifted copies of each image, over which the features for the mislabel score are averaged, >= 0; 0
            takes the features of the image itself.
        mirror: True to mirror half of the copies, if a mirrored image keeps its class.
        precision: Precision of the pass through the network; by default that of the network.
        show_progress: Print a progress bar.
        images: Some of the training images, to score as if there were no others; by default all.

    Raises:
        ValueError: If images or labels are invalid, the influence set is trained on, or the network does not end in a
            linear layer.
    """
    if copies < 0:
        raise ValueError(f"views must be at least 0, got {copies}; 8 is usual.")
    if data.influence_source != "held_out":
        raise ValueError(
            "attribute scores the effect on images that were never trained on, and data.influence_source "
            f"{data.influence_source} trains on the influence images: train with held_out."
        )
    data.check_one_label("attribute")
    train, held_out = data.splits.train if images is None else images, data.splits.influence
    for split in (train, held_out):
        validate_images(split.__getitems__(range(min(len(split), 64)))[0])
        check_labels(split.labels, model.num_classes)
    with frozen(model), torch.no_grad(), progress_bar(show_progress) as bar:
        reader = _Reader(model, data, precision or Precision())
        features, logits = reader.read(train, bar, "training images")
        held_out_features, _ = reader.read(held_out, bar, "influence set")
        of_copies = reader.read_copies(train, copies, mirror, bar) if copies else None
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

    def __init__(self, model: Classifier, data: InfluenceDataModule, precision: Precision) -> None:
        self.model, self.data, self.precision = model, data, precision
        images, _ = data.splits.influence.__getitems__(range(min(len(data.splits.influence), 2)))
        with precision.forward_context():
            head = find_last_linear(model.network, precision.convert_input(images.to(model.device)))
        self.capture = FeatureCapture(model.network, head)

    def read(self, images: LabelledImages, bar: Progress, name: str) -> tuple[Tensor, Tensor]:
        """Return features `[N, D]` and logits `[N, K]` of the original images, on the CPU."""
        parts = [self._pass(batch) for batch in self._batches(images, bar, name)]
        features, logits = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return features, logits

    def read_copies(self, images: LabelledImages, count: int, mirror: bool, bar: Progress) -> Tensor:
        """Return features `[N, D]` averaged over the copies of each image, on the CPU; equal at every call."""
        generator, policy = torch.Generator().manual_seed(_SEED), FlipCrop(flip=0.5 if mirror else 0.0).train()
        features = []
        for batch in self._batches(images, bar, "training images, copies"):
            copies = [self._pass(policy(batch, generator=generator))[0] for _ in range(count)]
            features.append(torch.stack(copies).mean(dim=0))
        return torch.cat(features)

    def _batches(self, images: LabelledImages, bar: Progress, name: str) -> Iterator[Tensor]:
        """Return the images in order, `[B, C, H, W]`, on the device and in the floating-point type of the network."""
        task = bar.add_task(name, total=len(images))
        for batch, _ in make_loader(images, self.data.batch_size, self.data.num_workers):
            yield self.precision.convert_input(batch.to(self.model.device))
            bar.advance(task, len(batch))

    def _pass(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits of a batch, float32 on the CPU."""
        with self.precision.forward_context():
            features, logits = self.capture(images.contiguous(memory_format=self.model.memory_format))
        return features.float().cpu(), logits.float().cpu()


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logit of the label minus the highest of the others, `[N]`."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], float("-inf")).amax(dim=1)
    return own[:, 0] - others
