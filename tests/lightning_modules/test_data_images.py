import pickle
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from image_files import disjoint, hashes, png, random_image, write_image_folder, write_parquet

from lightning_modules.data import ImageDataModule, validate_images

COUNTS = {"cat": 30, "dog": 30, "eel": 30}
SMALL: dict[str, Any] = {"influence_size": 6, "val_size": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder with a test split."""
    root = tmp_path_factory.mktemp("folder")
    write_image_folder(root / "train", COUNTS, seed=0)
    write_image_folder(root / "test", {"cat": 5, "dog": 5, "eel": 5}, seed=1)
    return root


def test_image_folder_with_a_test_split(folder: Path) -> None:
    module = ImageDataModule(str(folder), **SMALL)
    splits = module.splits
    assert module.class_names == ("cat", "dog", "eel")
    assert [len(splits.train), len(splits.load_test())] == [78, 15]
    assert disjoint(splits.train, splits.influence, splits.validation, splits.load_test())
    images, labels = next(iter(module.predict_dataloader()))
    validate_images(images)
    assert images.shape == (15, 3, 8, 8)
    assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_image_folder_without_a_split_level_has_a_fifth_cut_off(folder: Path) -> None:
    splits = ImageDataModule(str(folder / "train"), **SMALL).splits
    assert [len(splits.train), len(splits.load_test())] == [60, 18]
    assert disjoint(splits.train, splits.influence, splits.validation, splits.load_test())
    assert len(ImageDataModule(str(folder / "train"), test_size=30, **SMALL).splits.load_test()) == 30


def test_validation_folder_beside_a_test_folder_is_the_validation_split(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "three"
    shutil.copytree(folder, root)
    write_image_folder(root / "val", {"cat": 4, "dog": 4, "eel": 4}, seed=2)
    splits = ImageDataModule(str(root), influence_size=6).splits
    assert [len(splits.train), len(splits.validation), len(splits.load_test())] == [84, 12, 15]


def test_validation_folder_alone_is_the_test_split(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "two"
    shutil.copytree(folder / "train", root / "train")
    write_image_folder(root / "val", {"cat": 4, "dog": 4, "eel": 4}, seed=2)
    splits = ImageDataModule(str(root), **SMALL).splits
    assert [len(splits.train), len(splits.validation), len(splits.load_test())] == [78, 6, 12]


@pytest.mark.parametrize(
    ("feature", "labels", "names"),
    [
        (datasets.ClassLabel(names=["x", "y"]), [0, 1] * 20, ("x", "y")),
        (datasets.Value("int64"), [0, 1] * 20, ("0", "1")),
        (datasets.Value("string"), ["b", "a"] * 20, ("a", "b")),
    ],
)
def test_parquet_labels(feature: object, labels: list, names: tuple[str, ...], tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", labels, feature, seed=0)
    write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", labels, feature, seed=1)
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", labels, feature, seed=2)
    module = ImageDataModule(str(tmp_path), **SMALL)
    assert module.class_names == names
    expected = [names.index(label) if isinstance(label, str) else label for label in labels]
    assert module.splits.load_test().labels.tolist() == expected
    assert len(module.splits.train) == 68


def test_one_parquet_file_with_columns_of_other_names(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "all.parquet", [0, 1] * 30, datasets.Value("int64"), image="pic", label="kind")
    module = ImageDataModule(str(file), label_column="kind", image_column="pic", **SMALL)
    assert len(module.splits.train) == 36


def test_parquet_images_as_plain_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {"img": [png(random_image(rng)) for _ in range(40)], "label": [0, 1] * 20}
    datasets.Dataset.from_dict(columns).to_parquet(str(tmp_path / "train.parquet"))
    assert ImageDataModule(str(tmp_path), **SMALL).influence_set()[0].shape == (6, 3, 8, 8)


def test_rewritten_files_are_read_anew(tmp_path: Path) -> None:
    sizes = []
    for count in (20, 30):
        write_parquet(tmp_path / "train.parquet", [0, 1] * count, datasets.Value("int64"))
        sizes.append(len(ImageDataModule(str(tmp_path), test_size=6, **SMALL).splits.train))
    assert sizes == [22, 42]


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3)])
def test_channels_come_from_the_images(mode: str, channels: int, tmp_path: Path) -> None:
    write_image_folder(tmp_path, COUNTS, mode=mode, size=(6, 4))
    module = ImageDataModule(str(tmp_path), **SMALL)
    assert (module.in_channels, module.image_size) == (channels, (4, 6))


def test_image_size_resizes_and_crops(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "wide", {"cat": 20}, size=(12, 8))
    write_image_folder(tmp_path / "high", {"dog": 20}, size=(8, 20))
    root = tmp_path / "both"
    shutil.copytree(tmp_path / "wide", root)
    shutil.copytree(tmp_path / "high", root, dirs_exist_ok=True)
    assert ImageDataModule(str(root), image_size=10, **SMALL).influence_set()[0].shape == (6, 3, 10, 10)


@pytest.mark.parametrize("workers", [0, 1])
def test_decoded_on_the_fly_gives_the_same_batches(folder: Path, workers: int) -> None:
    memory = ImageDataModule(str(folder), batch_size=16, **SMALL)
    files = ImageDataModule(str(folder), batch_size=16, memory_limit=0, num_workers=workers, **SMALL)
    for one, other in zip(memory.train_dataloader(), files.train_dataloader(), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert memory.train_dataloader().num_workers == 0
    assert files.train_dataloader().num_workers == workers


@pytest.mark.parametrize("memory_limit", [0, 100])
def test_a_loaded_module_can_be_sent_to_another_process(folder: Path, memory_limit: int) -> None:
    module = ImageDataModule(str(folder), memory_limit=memory_limit, **SMALL)
    module.setup("fit")
    copy = pickle.loads(pickle.dumps(module))
    for name in ("train", "influence", "validation"):
        assert hashes(getattr(copy.splits, name)) == hashes(getattr(module.splits, name))
    assert hashes(copy.splits.load_test()) == hashes(module.splits.load_test())


def test_same_seed_same_splits(folder: Path) -> None:
    runs = [ImageDataModule(str(folder), train_size=30, seed=seed, **SMALL).splits for seed in (3, 3, 4)]
    for name in ("train", "influence", "validation"):
        one, same, other = (set(hashes(getattr(run, name))) for run in runs)
        assert one == same != other
    assert torch.bincount(runs[0].train.labels).tolist() == [10, 10, 10]


def test_influence_path_is_numbered_by_class_name(folder: Path, tmp_path: Path) -> None:
    write_image_folder(tmp_path, {"dog": 4, "eel": 3}, seed=7)  # without cats the folder alone would say 0, 1
    module = ImageDataModule(str(folder), val_size=6, influence_path=str(tmp_path))
    assert module.influence_set()[1].tolist() == [1] * 4 + [2] * 3
    assert len(module.splits.train) == 84
    fewer = ImageDataModule(str(folder), val_size=6, influence_path=str(tmp_path), influence_size=4)
    with pytest.warns(UserWarning, match="has 7 images, of which influence_size=4 are used"):
        assert torch.bincount(fewer.influence_set()[1], minlength=3).tolist() == [0, 2, 2]


def test_test_images_are_loaded_only_when_asked_for(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(folder, root)
    for file in (root / "test").rglob("*.png"):
        file.write_bytes(b"broken")
    module = ImageDataModule(str(root), **SMALL)
    module.setup("fit")
    assert len(list(module.train_dataloader())) == 1
    with pytest.raises(ValueError, match="cannot read image"):
        module.test_dataloader()
