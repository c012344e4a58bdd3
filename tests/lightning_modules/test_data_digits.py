from typing import Any

import pytest
import torch
from image_files import disjoint, hashes
from sklearn.datasets import load_digits

from lightning_modules.data import DigitsDataModule, validate_images


@pytest.fixture(scope="module")
def upright() -> DigitsDataModule:
    return DigitsDataModule(deployment_rotation=0)


@pytest.fixture(scope="module")
def rotated() -> DigitsDataModule:
    return DigitsDataModule()


def test_shapes_and_sizes(rotated: DigitsDataModule) -> None:
    images, labels = rotated.influence_set()
    assert images.shape == (200, 1, 16, 16)
    assert images.dtype == torch.float32
    assert labels.shape == (200,)
    assert labels.dtype == torch.int64
    assert (rotated.num_classes, rotated.in_channels, rotated.image_size) == (10, 1, (16, 16))
    assert rotated.class_names == tuple("0123456789")
    splits = rotated.splits
    assert [len(split) for split in (splits.train, splits.validation, splits.load_test())] == [1000, 200, 397]
    for loader in (rotated.train_dataloader(), rotated.val_dataloader(), rotated.test_dataloader()):
        batch, targets = next(iter(loader))[:2]
        validate_images(batch)
        assert batch.shape == (64, 1, 16, 16)
        assert targets.dtype == torch.int64


def test_splits_never_share_a_digit(upright: DigitsDataModule) -> None:
    splits = upright.splits
    assert disjoint(splits.train, splits.influence, splits.validation, splits.load_test())


def test_splits_are_stratified(rotated: DigitsDataModule) -> None:
    splits = rotated.splits
    for split in (splits.train, splits.influence, splits.validation, splits.load_test()):
        shares = torch.bincount(split.labels) / len(split)
        assert (shares - 0.1).abs().max() < 0.01


def test_only_deployment_is_rotated(upright: DigitsDataModule, rotated: DigitsDataModule) -> None:
    assert hashes(upright.splits.train) == hashes(rotated.splits.train)
    for name in ("influence", "validation"):
        before, after = getattr(upright.splits, name), getattr(rotated.splits, name)
        assert torch.equal(before.labels, after.labels)
        assert set(hashes(before)).isdisjoint(hashes(after))


def test_upright_test_images_are_the_digits_of_scikit_learn(upright: DigitsDataModule) -> None:
    module = DigitsDataModule(deployment_rotation=0, image_size=8)
    originals = torch.from_numpy(load_digits().images).float() / 16
    images, labels = module.influence_set()
    closest = torch.cdist(images.flatten(1), originals.flatten(1), p=float("inf")).min(dim=1)
    assert closest.values.max() <= 0.5 / 255 + 1e-6
    assert torch.equal(torch.from_numpy(load_digits().target)[closest.indices], labels)


def test_seed_decides_everything(rotated: DigitsDataModule) -> None:
    same, other = DigitsDataModule(), DigitsDataModule(seed=1)
    assert hashes(same.influence_set()[0]) == hashes(rotated.influence_set()[0])
    assert hashes(other.influence_set()[0]) != hashes(rotated.influence_set()[0])


def test_influence_size_leaves_the_test_images_alone(rotated: DigitsDataModule) -> None:
    smaller = DigitsDataModule(influence_size=50)
    assert hashes(smaller.splits.load_test()) == hashes(rotated.splits.load_test())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"deployment_rotation": 200.0}, r"deployment_rotation must lie in \[0, 180\], found 200"),
        ({"influence_size": 0}, r"influence_size must lie in .*found 0"),
        ({"batch_size": 0}, r"batch_size must lie in .*found 0"),
        ({"seed": -1}, r"seed must lie in .*found -1"),
        ({"test_size": 1500}, "together need 1910 images, but there are 1797"),
    ],
)
def test_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitsDataModule(**arguments).setup("fit")
