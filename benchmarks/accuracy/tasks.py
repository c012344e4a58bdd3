"""What a study asks: a real data set whose splits are changed in a way that is known."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from benchmarks.accuracy.settings import Data, Task
from benchmarks.accuracy.shifts import shifted
from lightning_modules.data import DigitsDataModule, ImageDataModule, InfluenceDataModule, LabelledImages, Splits
from lightning_modules.data.store import MemoryStore, as_bytes

Change = Callable[..., Splits]
_DIGITS_TEST = 397
_DIGITS_SIDE = 28


class TaskData(InfluenceDataModule):
    """The splits of a data set, changed.

    Args:
        base: The data set as it is.
        task: The change.
        **kwargs: See `InfluenceDataModule`.
    """

    def __init__(self, base: InfluenceDataModule, task: Task, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base, self.task = base, task

    def load_splits(self) -> Splits:
        """Load the splits and change them."""
        splits = replace(self.base.splits, load_test=lambda: self.unchanged_test)
        return CHANGES[self.task.change](splits, self.seed, **self.task.options)

    @cached_property
    def unchanged_test(self) -> LabelledImages:
        """The test images before the task changes them, loaded at first use."""
        return self.base.splits.load_test()


def data_set(data: Data, seed: int) -> InfluenceDataModule:
    """The data set of a study as it is.

    Raises:
        ValueError: If the digits are to be a subset.
    """
    if data.path != "digits":
        return ImageDataModule(
            data.path,
            train_size=data.train_size,
            influence_size=data.influence_size,
            val_size=data.val_size,
            test_size=data.test_size,
            image_size=data.image_size,
            seed=seed,
        )
    if data.train_size is not None:
        raise ValueError("data.train_size: digits train on all that is left, leave it out.")
    return DigitsDataModule(
        influence_size=data.influence_size,
        val_size=data.val_size,
        test_size=data.test_size or _DIGITS_TEST,
        image_size=data.image_size or _DIGITS_SIDE,
        deployment_rotation=0,
        seed=seed,
    )


def nothing(splits: Splits, seed: int) -> Splits:
    """Leave everything as it is."""
    return splits


def deployment(splits: Splits, seed: int, **options: Any) -> Splits:
    """Shift all but the training images.

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
    """Make the classes of the training images unequal and some of their labels wrong; all others stay clean.

    Class k of K keeps `imbalance ** (-k / (K - 1))` of its images; a wrong label is one of the other classes, each as
    likely (the setting of Gudovskiy et al., CVPR 2021, with their names 10-0.1 for 10 and 10 %).

    Args:
        splits: As they are, balanced.
        seed: Of the draws.
        imbalance: Images of the first class over those of the last, >= 1.
        noise: Share of wrong labels, in [0, 1).
        repeated: Repeat the images of every class until all have as many as the largest: what anybody would do first.
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
    """The class of an image is how often it is turned by a quarter; what it shows says nothing."""

    def turn(image: Tensor, label: int) -> Tensor:
        return torch.rot90(image, label, (1, 2))

    return _classes_of(splits, seed, ("0", "90", "180", "270"), turn)


def colour_cast(splits: Splits, seed: int, stops: float) -> Splits:
    """The class of an image is its cast: one of the three channels is brighter or darker; what it shows says nothing.

    Args:
        splits: As they are, RGB.
        seed: Of the draws.
        stops: How much.
    """

    def cast(image: Tensor, label: int) -> Tensor:
        channel, darker = divmod(label, 2)
        gains = torch.ones(3)
        gains[channel] = 2 ** (-stops if darker else stops)
        return (image * gains[:, None, None]).clamp(max=1)

    return _classes_of(splits, seed, ("red", "cyan", "green", "magenta", "blue", "yellow"), cast)


def noise_level(splits: Splits, seed: int, levels: list[float]) -> Splits:
    """The class of an image is how noisy it is; what it shows says nothing.

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
    """Give every image of every split a class of its own draw, as many of each, and change it accordingly."""

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
    """Rows, over and over."""
    return rows[torch.arange(length) % len(rows)]


def _in_memory(images: Tensor, labels: Tensor) -> LabelledImages:
    return LabelledImages(MemoryStore(as_bytes(images)), labels)


CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "nothing": nothing,
        "deployment": deployment,
        "dirt": dirt,
        "quarter_turns": quarter_turns,
        "colour_cast": colour_cast,
        "noise_level": noise_level,
    }
)
"""What a task may do to the splits, by name."""
