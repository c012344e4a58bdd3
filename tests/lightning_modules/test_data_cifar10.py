"""On real images, where they are at hand."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from image_files import CIFAR10, disjoint, hashes
from PIL import Image

from lightning_modules.data import ImageDataModule

needs_cifar10 = pytest.mark.skipif(not CIFAR10.is_dir(), reason=f"needs the CIFAR-10 parquet files in {CIFAR10}")


@pytest.fixture(scope="module")
def cifar10() -> ImageDataModule:
    return ImageDataModule(str(CIFAR10), train_size=1000, val_size=100, influence_size=100, test_size=200)


@pytest.mark.slow
@needs_cifar10
def test_cifar10_splits(cifar10: ImageDataModule) -> None:
    splits = cifar10.splits
    assert (cifar10.num_classes, cifar10.in_channels, cifar10.image_size) == (10, 3, (32, 32))
    assert cifar10.class_names[:2] == ("airplane", "automobile")
    test = splits.load_test()
    sizes = [len(split) for split in (splits.train, splits.influence, splits.validation, test)]
    assert sizes == [1000, 100, 100, 200]
    assert disjoint(splits.train, splits.influence, splits.validation, test)
    assert torch.bincount(splits.train.labels).tolist() == [100] * 10


@pytest.mark.slow
@needs_cifar10
def test_cifar10_images_keep_their_labels(cifar10: ImageDataModule) -> None:
    table = datasets.load_dataset("parquet", data_files=str(CIFAR10 / "test.parquet"), split="train")
    rows = table.select(range(2000))
    pixels = torch.stack([torch.from_numpy(np.array(row["img"])).permute(2, 0, 1) / 255 for row in rows])
    known = dict(zip(hashes(pixels), rows["label"], strict=True))
    test = cifar10.splits.load_test()
    found = [
        (known[value], int(label)) for value, label in zip(hashes(test), test.labels, strict=True) if value in known
    ]
    assert len(found) > 20
    assert all(expected == label for expected, label in found)


@pytest.mark.slow
@needs_cifar10
def test_influence_images_exported_to_png_are_found_in_the_training_split(
    cifar10: ImageDataModule, tmp_path: Path
) -> None:
    images, labels = cifar10.splits.train.__getitems__(range(20))
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for number, (array, label) in enumerate(zip(pixels, labels, strict=True)):
        target = tmp_path / cifar10.class_names[label] / f"{number}.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(array).save(target)
    overlapping = ImageDataModule(
        str(CIFAR10), train_size=1000, val_size=100, test_size=200, influence_path=str(tmp_path)
    )
    with pytest.raises(ValueError, match="shares"):
        overlapping.setup("fit")
