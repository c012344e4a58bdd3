from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from image_files import write_image_folder, write_parquet
from PIL import Image

from lightning_modules.data import ImageDataModule

COUNTS = {"cat": 20, "dog": 20}
SMALL: dict[str, Any] = {"influence_size": 4, "val_size": 4}


def fails(error: type[Exception], message: str, path: Path | str, **arguments: Any) -> None:
    """Building or setting up the module raises before anything is trained."""
    with pytest.raises(error, match=message):
        ImageDataModule(str(path), **{**SMALL, **arguments}).setup("fit")


def test_missing_path_suggests_the_nearest(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "flowers", COUNTS)
    fails(FileNotFoundError, r"path='.*flower' does not exist. Did you mean .*flowers\?", tmp_path / "flower")
    deep = tmp_path / "flower" / "train"
    fails(FileNotFoundError, r"does not exist. Did you mean .*flowers\?", deep)
    fails(
        FileNotFoundError,
        "influence_path='.*nothing' does not exist",
        tmp_path / "flowers",
        influence_path=str(tmp_path / "nothing"),
    )


def test_hub_name_without_network() -> None:
    fails(
        FileNotFoundError,
        "path='uoft-cs/cifar10' is no local folder.*unset HF_HUB_OFFLINE",
        "uoft-cs/cifar10",
    )


def test_relative_path_that_could_be_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    fails(FileNotFoundError, r"Did you mean .*data/cifar10\?", "data/cifar")


def test_folder_with_neither_parquet_nor_classes(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    fails(ValueError, r"holds neither parquet files nor an image folder, but \['readme.txt'\]", tmp_path)
    fails(ValueError, "but .txt", tmp_path / "readme.txt")


def test_no_training_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", [0, 1] * 20, datasets.Value("int64"))
    fails(ValueError, "has no training split, only test", tmp_path)


def test_missing_columns_are_listed(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1] * 20, datasets.Value("int64"))
    listing = r"choose one of image \(Image\), label \(int64\)"
    fails(
        ValueError,
        f"image_column='img' is no column of the train split of .*{listing}",
        tmp_path,
        image_column="img",
    )
    fails(ValueError, f"label_column='y' is no column of .*{listing}", tmp_path, label_column="y")


def test_columns_that_cannot_be_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1] * 20, datasets.Value("int64"), label="kind")
    fails(ValueError, "label_column of .* cannot be told, none .* set label_column", tmp_path)


def test_column_that_holds_no_labels(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0.5, 1.0] * 20, datasets.Value("float64"))
    fails(ValueError, "has type double: labels must be", tmp_path, label_column="label")


@pytest.mark.parametrize(
    ("labels", "feature", "message"),
    [
        ([1, 2] * 20, datasets.Value("int64"), r"must be 0..K-1 with no number left out, found \[1, 2\]"),
        ([0, -1] * 20, datasets.ClassLabel(names=["a", "b"]), r"outside the 2 classes 0..1: \[-1\]"),
        ([0, None] * 20, datasets.Value("int64"), "20 labels of .* are empty"),
    ],
)
def test_labels_outside_the_classes(labels: list, feature: object, message: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", labels, feature)
    fails(ValueError, message, tmp_path)


def test_influence_classes_that_training_lacks(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", COUNTS)
    write_image_folder(tmp_path / "deployed", {"dog": 3, "wolf": 3}, seed=5)
    fails(
        ValueError,
        "has classes that the training data lack: wolf; theirs are cat, dog",
        tmp_path / "data",
        influence_path=str(tmp_path / "deployed"),
    )


def test_empty_influence_set(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", COUNTS)
    fails(ValueError, r"influence_size must lie in .*found 0", tmp_path / "data", influence_size=0)
    (tmp_path / "deployed" / "cat").mkdir(parents=True)
    fails(
        ValueError,
        "class folder .*cat holds no image that can be read, it is empty",
        tmp_path / "data",
        influence_path=str(tmp_path / "deployed"),
    )


@pytest.mark.parametrize("memory_limit", [0, 100])
@pytest.mark.parametrize(("split", "source"), [("train", "train"), ("validation", "val"), ("test", "test")])
def test_influence_set_that_overlaps(split: str, source: str, memory_limit: int, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for seed, name in enumerate(("train", "val", "test")):
        write_image_folder(root / name, COUNTS, seed=seed)
    deployed = write_image_folder(tmp_path / "deployed", {"cat": 3, "dog": 3}, seed=9)
    arguments: dict[str, Any] = {
        "influence_path": str(deployed),
        "memory_limit": memory_limit,
        "val_size": 40,
    }
    copy = deployed / "dog" / "copy.png"
    copy.write_bytes((root / source / "dog" / "0.png").read_bytes())
    message = f"shares 1 of its 7 images with the {split} split"
    fails(ValueError, message, root, **{**arguments, "influence_size": 10})
    copy.unlink()
    ImageDataModule(str(root), **arguments).setup("fit")


def test_the_test_labels_are_not_read_by_the_overlap_check(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["cat", "dog"])
    write_parquet(tmp_path / "data" / "train.parquet", [0, 1] * 20, names, seed=0)
    write_parquet(tmp_path / "data" / "test.parquet", [-1] * 10, names, seed=1)
    write_image_folder(tmp_path / "deployed", {"cat": 3, "dog": 3}, seed=9)
    module = ImageDataModule(str(tmp_path / "data"), val_size=4, influence_path=str(tmp_path / "deployed"))
    module.setup("fit")
    with pytest.raises(ValueError, match="-1 usually marks images without a label"):
        module.test_dataloader()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_size": 41}, "train_size=41 together need .* images, but there are 40"),
        ({"train_size": 1}, "train_size=1 cannot give each of 2 classes a sample"),
        (
            {"val_size": 30},
            r"val_size=30, .* train_size=2 \(one image a class\) together need 44",
        ),
        ({"batch_size": 0}, r"batch_size must lie in"),
        ({"image_size": 0}, r"image_size must lie in"),
    ],
)
def test_impossible_sizes(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    fails(ValueError, message, write_image_folder(tmp_path, COUNTS), **arguments)


def test_test_size_larger_than_the_test_split(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train", COUNTS)
    write_image_folder(tmp_path / "test", {"cat": 2, "dog": 2}, seed=1)
    fails(ValueError, "test_size=5, but the test split of .* has 4 images", tmp_path, test_size=5)


def test_images_of_several_sizes(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", COUNTS)
    Image.new("RGB", (9, 8)).save(tmp_path / "data" / "dog" / "0.png")
    fails(ValueError, "differ in size .*9 x 8.*: set image_size", tmp_path / "data")


def deep_image(file: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.write_bytes(b"broken"), "cannot read image .*0.png of the train split"),
        (deep_image, "0.png .* more than 8 bits"),
    ],
)
def test_files_that_cannot_be_used(spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write_image_folder(tmp_path, COUNTS)
    spoil(tmp_path / "cat" / "0.png")
    fails(ValueError, message, tmp_path, test_size=4)
