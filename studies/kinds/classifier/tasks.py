"""Tasks: a real data set whose splits are changed in a way that is known."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from lightning_modules.data import InfluenceDataModule, LabelledImages, Splits
from lightning_modules.data.store import MemoryStore, as_bytes
from studies.kinds.classifier.shifts import shifted

Change = Callable[..., Splits]


class TaskData(InfluenceDataModule):
    """The splits of a data set, changed.

    Args:
        base: The data set as it is.
        change: Key of `CHANGES`.
        options: Its arguments.
        **kwargs: See `InfluenceDataModule`.
    """

    def __init__(self, base: InfluenceDataModule, change: str, options: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base, self.change, self.options = base, change, options

    def load_splits(self) -> Splits:
        """Load the splits and change them."""
        splits = replace(self.base.splits, load_test=lambda: self.unchanged_test)
        return CHANGES[self.change](splits, self.seed, **self.options)

    @cached_property
    def unchanged_test(self) -> LabelledImages:
        """The test images before the task changes them, loaded at first use."""
        return self.base.splits.load_test()


def nothing(splits: Splits, seed: int) -> Splits:
    """Return the splits as they are."""
    return splits


def deployment(splits: Splits, seed: int, **options: Any) -> Splits:
    """Return splits of which all but the training images are shifted.

    Args:
        splits: As they are.
        seed: Of the draws.
        **options: See `shifts.shifted`.
    """
    return replace(
        splits,
        influence=shifted(splits.influence, seed, **options),
        validation=shifted(splits.validation, seed + 1, **options),
        load_test=lambda: shifted(splits.load_test(), seed + 2, **options),
        deployment=True,
    )


def dirt(splits: Splits, seed: int, imbalance: float, noise: float, repeated: bool = False) -> Splits:
    """Return splits with unequal classes and some wrong labels among the training images; all others stay clean.

    Class k of K keeps `imbalance ** (-k / (K - 1))` of its images; a wrong label is one of the other classes, each as
    likely (the setting of Gudovskiy et al., CVPR 2021, with their names 10-0.1 for 10 and 10 %).

    Args:
        splits: As they are, balanced.
        seed: Of the draws.
        imbalance: Images of the first class over those of the last, >= 1.
        noise: Share of wrong labels, in [0, 1).
        repeated: Repeat the images of every class until all have as many as the largest.
    """
    generator = torch.Generator().manual_seed(seed)
    count, labels = len(splits.class_names), splits.train.labels
    kept = []
    for label in range(count):
        rows = (labels == label).nonzero()[:, 0]
        share = imbalance ** (-label / max(count - 1, 1))
        kept.append(rows[torch.randperm(len(rows), generator=generator)][: max(round(share * len(rows)), 1)])
    rows = torch.cat(kept).sort().values
    wrong = torch.rand(len(rows), generator=generator) < noise
    moved = (labels[rows] + torch.randint(1, count, (len(rows),), generator=generator)) % count
    given = torch.where(wrong, moved, labels[rows])
    if repeated:
        largest = int(given.bincount().max())
        order = torch.cat([_cycled((given == label).nonzero()[:, 0], largest) for label in given.unique()])
        rows, given = rows[order], given[order]
    images, _ = splits.train.__getitems__(rows.tolist())
    return replace(splits, train=_in_memory(images, given), deployment=True)


def quarter_turns(splits: Splits, seed: int) -> Splits:
    """Return splits whose classes are the number of quarter turns of an image, independent of what it shows."""

    def turn(image: Tensor, label: int) -> Tensor:
        return torch.rot90(image, label, (1, 2))

    return _classes_of(splits, seed, ("0", "90", "180", "270"), turn)


def color_cast(splits: Splits, seed: int, stops: float) -> Splits:
    """Return splits whose classes are the casts of an image: one of three channels is brighter or darker.

    Args:
        splits: As they are, RGB.
        seed: Of the draws.
        stops: Of the change.
    """

    def cast(image: Tensor, label: int) -> Tensor:
        channel, darker = divmod(label, 2)
        gains = torch.ones(3)
        gains[channel] = 2 ** (-stops if darker else stops)
        return (image * gains[:, None, None]).clamp(max=1)

    return _classes_of(splits, seed, ("red", "cyan", "green", "magenta", "blue", "yellow"), cast)


def noise_level(splits: Splits, seed: int, levels: list[float]) -> Splits:
    """Return splits whose classes are the noise levels of an image, independent of what it shows.

    Args:
        splits: As they are.
        seed: Of the draws.
        levels: Standard deviation of the white noise of each class, as a fraction of the full range.
    """
    generator = torch.Generator().manual_seed(seed)

    def add(image: Tensor, label: int) -> Tensor:
        return (image + levels[label] * torch.randn(image.shape, generator=generator)).clamp(0, 1)

    return _classes_of(splits, seed, tuple(f"{level:g}" for level in levels), add)


def _classes_of(splits: Splits, seed: int, names: tuple[str, ...], change: Callable[[Tensor, int], Tensor]) -> Splits:
    """Return splits in which every image has a class of its own draw, as many of each, and is changed accordingly."""

    def changed(dataset: LabelledImages, draw: int) -> LabelledImages:
        images, _ = dataset.everything()
        labels = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed + draw)) % len(names)
        shown = [change(image, int(label)) for image, label in zip(images, labels, strict=True)]
        return _in_memory(torch.stack(shown), labels)

    return Splits(
        train=changed(splits.train, 0),
        influence=changed(splits.influence, 1),
        validation=changed(splits.validation, 2),
        load_test=lambda: changed(splits.load_test(), 3),
        class_names=names,
    )


def _cycled(rows: Tensor, length: int) -> Tensor:
    """Return rows, repeated up to a length."""
    return rows[torch.arange(length) % len(rows)]


def _in_memory(images: Tensor, labels: Tensor) -> LabelledImages:
    return LabelledImages(MemoryStore(as_bytes(images)), labels)


CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "nothing": nothing,
        "deployment": deployment,
        "dirt": dirt,
        "quarter_turns": quarter_turns,
        "color_cast": color_cast,
        "noise_level": noise_level,
    }
)
"""Changes of the splits, by name."""
