"""Random images of every class, as this project and as users of torchvision load them: as many batches as asked for.

There is one epoch, however long, so that no arm has more ends of epochs in its blocks than another.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.step_cost.task import Task
from lightning_modules.data import InfluenceDataModule, LabelledImages, Splits
from lightning_modules.data.store import MemoryStore

SIDE = 32
_IMAGES = 2048
_WRONG = 0.1


def random_images(count: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images `[N, 3, 32, 32]` uint8, a fourth of each that of its class, and labels `[N]`."""
    generator = torch.Generator().manual_seed(seed)
    shapes = torch.randint(256, (classes, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(count) % classes
    images = torch.randint(192, (count, 3, 8, 8), generator=generator, dtype=torch.uint8) + shapes[labels] // 4
    return images.repeat_interleave(SIDE // 8, dim=2).repeat_interleave(SIDE // 8, dim=3), labels


def repeated(labels: Tensor, length: int, classes: int) -> Tensor:
    """Return repeated labels `[length]`, a tenth of them wrong at random, so that none are memorized."""
    generator = torch.Generator().manual_seed(3)
    random = torch.randint(classes, (length,), generator=generator)
    wrong = torch.rand(length, generator=generator) < _WRONG
    return torch.where(wrong, random, labels[torch.arange(length) % len(labels)])


class RepeatedStore(MemoryStore):
    """Images in memory, over and over.

    Args:
        images: uint8 `[N, C, H, W]`.
        length: As how many they count.
    """

    def __init__(self, images: Tensor, length: int) -> None:
        super().__init__(images)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def fetch(self, indices: Sequence[int]) -> Tensor:
        """The images at the indices, float32 `[B, C, H, W]` in [0, 1]."""
        images: Tensor = super().fetch(torch.as_tensor(indices) % len(self.images))  # type: ignore[arg-type]
        return images


class RandomImages(InfluenceDataModule):
    """The data module of this project, with random images.

    Args:
        task: How many.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(batch_size=task.batch)
        self.task = task

    def load_splits(self) -> Splits:
        """As many training images as the steps take; there is nothing to validate or test."""
        task, length = self.task, self.task.batch * self.task.total_steps
        images, labels = random_images(_IMAGES, task.classes, seed=1)
        train = LabelledImages(RepeatedStore(images, length), repeated(labels, length, task.classes))
        held_out, classes = random_images(task.influence, task.classes, seed=2)
        influence = LabelledImages(MemoryStore(held_out), classes)
        names = tuple(map(str, range(task.classes)))
        return Splits(train, influence, influence, lambda: influence, names)


class Pictures(Dataset):
    """PIL images, one by one, and what a transform makes of them: as torchvision's datasets.

    Args:
        task: How many.
        transform: From a PIL image.
    """

    def __init__(self, task: Task, transform: Callable[[Any], Any]) -> None:
        images, labels = random_images(_IMAGES, task.classes, seed=1)
        self.arrays, self.transform = images.permute(0, 2, 3, 1).contiguous().numpy(), transform
        self.labels = repeated(labels, task.batch * task.total_steps, task.classes).tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.arrays[index % len(self.arrays)])), self.labels[index]


def picture_loader(task: Task, transform: Callable[[Any], Any], workers: int) -> DataLoader:
    """Return a loader of shuffled batches of `Pictures`."""
    return DataLoader(Pictures(task, transform), task.batch, shuffle=True, num_workers=workers, drop_last=True)
