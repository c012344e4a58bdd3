from pathlib import Path
from typing import Any

import pytest
import torch
from small_images import write_images
from torch import Tensor

from augnet import AugNet, save_policy
from lightning_modules.data import ImageDataModule, LabelledImages, MemoryStore
from studies.fixed_policy import augmentation
from studies.frozen_views import FrozenViews, freeze_views


def small_dataset() -> LabelledImages:
    images = torch.arange(1, 11, dtype=torch.uint8)[:, None, None, None].expand(10, 3, 4, 4)
    return LabelledImages(MemoryStore(images.clone()), torch.arange(10))


def brighter(images: Tensor, labels: Tensor) -> Tensor:
    return images + 0.5 * torch.rand(len(images), 1, 1, 1)


def test_every_image_has_its_views_and_they_stay() -> None:
    frozen = freeze_views(small_dataset(), brighter, 4, seed=0)
    images, labels = frozen.everything()
    assert len(frozen) == 40
    assert labels.tolist() == list(range(10)) * 4
    added = images - small_dataset().everything()[0].repeat(4, 1, 1, 1)
    assert float(added.min()) >= 0
    assert float(added.max()) <= 0.51
    assert len({round(float(one), 3) for one in added[:, 0, 0, 0]}) > 30  # views of one image differ too
    assert torch.equal(frozen.everything()[0], images)
    assert torch.equal(freeze_views(small_dataset(), brighter, 4, seed=0).everything()[0], images)
    assert not torch.equal(freeze_views(small_dataset(), brighter, 4, seed=1).everything()[0], images)


def test_fewer_views_are_the_first_of_more() -> None:
    two, four = (freeze_views(small_dataset(), brighter, views, seed=0).everything()[0] for views in (2, 4))
    assert torch.equal(two, four[:20])


def test_without_a_policy_one_view_is_the_image() -> None:
    frozen = freeze_views(small_dataset(), lambda images, labels: images, 1, seed=0)
    assert torch.equal(frozen.everything()[0], small_dataset().everything()[0])
    with pytest.raises(ValueError, match="views must be at least 1"):
        freeze_views(small_dataset(), brighter, 0, seed=0)


def test_only_the_training_split_is_frozen(tmp_path: Path) -> None:
    path = write_images(tmp_path)
    sizes: dict[str, Any] = {"train_size": 40, "val_size": 20, "influence_size": 4, "seed": 3}
    plain, frozen = ImageDataModule(str(path), **sizes), FrozenViews(str(path), brighter, 2, **sizes)
    assert len(frozen.splits.train) == 80
    assert torch.equal(frozen.splits.train.labels, plain.splits.train.labels.repeat(2))
    for split in ("validation", "influence"):
        ours, theirs = (getattr(data.splits, split).everything()[0] for data in (frozen, plain))
        assert torch.equal(ours, theirs)


def test_a_learned_policy_makes_views_unless_it_mixes(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    save_policy(AugNet.from_ops({"brightness": 0.4}, initial=0.9), file)
    images, labels = torch.full((50, 3, 8, 8), 0.5), torch.zeros(50, dtype=torch.long)
    views = augmentation("none", file)(images, labels)
    assert 0.1 < float(views[:, 0, 0, 0].std()) < 0.4
    save_policy(AugNet.from_ops(["rotation", "mixup"]), file)
    for base, policy_file in (("none", file), ("mixup", None)):
        with pytest.raises(ValueError, match="mixes images and labels"):
            augmentation(base, policy_file)
