"""Images that are in the data more than once, of files written here."""

import shutil
from pathlib import Path

import pytest
from image_files import write_image_folder

from lightning_modules.data import ImageDataModule


def splits(root: Path) -> Path:
    """Splits with a validation and a test folder that share nothing."""
    for seed, split in enumerate(("train", "validation", "test")):
        write_image_folder(root / split, {"cat": 10, "dog": 10}, seed=seed)
    return root


def test_the_validation_split_shares_training_images(tmp_path: Path) -> None:
    root = splits(tmp_path)
    shutil.copy(root / "train" / "cat" / "3.png", root / "validation" / "cat" / "3.png")
    with pytest.warns(UserWarning, match=r"1 of the 20 images of the validation split .* training split.*cat/3\.png"):
        ImageDataModule(str(root), influence_size=2, val_size=20).setup("fit")


def test_the_test_split_is_compared_when_it_is_loaded(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    root = splits(tmp_path)
    for place in (4, 5):
        shutil.copy(root / "validation" / "dog" / f"{place}.png", root / "test" / "dog" / f"{place}.png")
    data = ImageDataModule(str(root), influence_size=2, val_size=20)
    data.setup("fit")
    assert len(recwarn) == 0
    with pytest.warns(UserWarning, match=r"2 of the 20 images of the test split .* validation split.*dog/4\.png"):
        data.test_dataloader()


def test_copies_with_two_labels_are_named(tmp_path: Path) -> None:
    root = splits(tmp_path)
    shutil.copy(root / "train" / "cat" / "7.png", root / "train" / "dog" / "copy.png")
    data = ImageDataModule(str(root), influence_size=2, val_size=20)
    with pytest.warns(UserWarning, match=r"1 training images are .*cat/7\.png \(cat\) and .*dog/copy\.png \(dog\)"):
        data.setup("fit")


def test_copies_of_one_label_within_the_training_split_are_allowed(tmp_path: Path) -> None:
    root = splits(tmp_path)
    shutil.copy(root / "train" / "cat" / "7.png", root / "train" / "cat" / "copy.png")
    data = ImageDataModule(str(root), influence_size=2, val_size=20)
    data.setup("fit")
    data.test_dataloader()


def test_a_larger_folder_than_its_size_is_said(tmp_path: Path) -> None:
    root, deployment = splits(tmp_path / "data"), write_image_folder(tmp_path / "field", {"cat": 6, "dog": 6}, seed=9)
    with pytest.warns(UserWarning, match="has 12 images, of which influence_size=4 are used"):
        ImageDataModule(str(root), influence_path=str(deployment), influence_size=4, val_size=20).setup("fit")
