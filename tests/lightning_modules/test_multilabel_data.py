import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from image_files import random_image, write_image_folder, write_parquet

from lightning_modules.data import ImageDataModule, LabelledImages
from lightning_modules.data.folder_facts import read_facts

KINDS = ("bird", "cat", "dog")
SETS = [["cat"], ["dog", "cat"], [], ["bird"], ["dog"], ["bird", "cat", "dog"], ["cat"], ["dog", "bird"]] * 5
MATRIX = np.array([[kind in labels for kind in KINDS] for labels in SETS], dtype=np.float32)
SMALL: dict[str, Any] = {"influence_size": 8, "val_size": 8, "test_size": 8}


def write_rows(file: Path, header: Sequence[str], rows: Sequence[Sequence[object]], seed: int = 0) -> str:
    """Write a CSV file with an image for each row, whose path is its first column."""
    rng = np.random.default_rng(seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    for number in range(len(rows)):
        random_image(rng).save(file.parent / f"{file.stem}{number}.png")
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(
            [["path", *header], *([f"{file.stem}{k}.png", *row] for k, row in enumerate(rows))]
        )
    return str(file)


def strings(file: Path, separator: str = "|") -> str:
    return write_rows(file, ["label"], [[separator.join(labels)] for labels in SETS])


def labels_of(module: ImageDataModule) -> dict[int, list[float]]:
    """The labels of all images, by their row in the file."""
    splits = module.splits
    parts: list[LabelledImages] = [splits.train, splits.influence, splits.validation, splits.load_test()]
    found = {}
    for part in parts:
        assert part.labels.dtype == torch.float32
        for source, labels in zip(part.sources(), part.labels.tolist(), strict=True):
            found[int("".join(filter(str.isdigit, Path(source).name)))] = labels
    return found


def check(module: ImageDataModule, names: Sequence[str] = KINDS) -> None:
    """The module reads `SETS`, with `names` for the three classes in their order."""
    assert module.multilabel
    assert module.class_names == tuple(names)
    assert labels_of(module) == {row: labels.tolist() for row, labels in enumerate(MATRIX)}


@pytest.mark.parametrize("separator", ["|", " ; "])
def test_strings_with_a_separator(separator: str, tmp_path: Path) -> None:
    check(ImageDataModule(strings(tmp_path / "list.csv", separator), label_separator=separator.strip(), **SMALL))


@pytest.mark.parametrize(
    ("feature", "as_label", "names"),
    [
        (datasets.Value("string"), str, KINDS),
        (datasets.Value("int16"), KINDS.index, ("0", "1", "2")),
        (datasets.ClassLabel(names=list(KINDS)), KINDS.index, KINDS),
    ],
)
def test_lists_in_parquet(feature: Any, as_label: Any, names: Sequence[str], tmp_path: Path) -> None:
    rows = [[as_label(kind) for kind in labels] for labels in SETS]
    write_parquet(tmp_path / "train.parquet", rows, datasets.Sequence(feature), label="labels")
    check(ImageDataModule(str(tmp_path), **SMALL), names)


@pytest.mark.parametrize("write", [int, float, bool, lambda value: "true" if value else "false"])
def test_columns_of_0_and_1(write: Any, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "list.csv", KINDS, [[write(value) for value in row] for row in MATRIX])
    check(ImageDataModule(file, label_column=list(KINDS), **SMALL))
    columns = [KINDS[place] for place in (2, 0, 1)]
    module = ImageDataModule(file, label_column=columns, **SMALL)
    assert module.class_names == ("dog", "bird", "cat")
    assert labels_of(module) == {row: labels[[2, 0, 1]].tolist() for row, labels in enumerate(MATRIX)}


def test_number_columns_of_parquet(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"cat": MATRIX[:, 1].astype(bool), "dog": MATRIX[:, 2].astype(np.int8)}
    table = datasets.Dataset.from_dict({"image": [random_image(rng) for _ in SETS], **columns})
    table.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / "train.parquet"))
    module = ImageDataModule(str(tmp_path), label_column=["cat", "dog"], **SMALL)
    assert labels_of(module) == {row: labels[1:].tolist() for row, labels in enumerate(MATRIX)}


def test_classes_are_matched_by_name_over_all_splits(tmp_path: Path) -> None:
    strings(tmp_path / "data" / "train" / "metadata.csv")
    write_rows(tmp_path / "data" / "test" / "metadata.csv", ["label"], [["dog|cat"], [""], ["dog"]], seed=1)
    other = write_rows(tmp_path / "deployed.csv", ["label"], [["dog"], ["cat|bird"]], seed=2)
    module = ImageDataModule(str(tmp_path / "data"), influence_path=other, label_separator="|", val_size=8)
    assert module.influence_set()[1].tolist() == [[0, 0, 1], [1, 1, 0]]
    assert module.test_images.labels.tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 1]]


def test_numbered_classes_are_matched_by_their_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", SETS, datasets.Sequence(datasets.Value("string")))
    names = datasets.Sequence(datasets.ClassLabel(names=["dog", "cow", "bird"]))
    other = write_parquet(tmp_path / "other" / "0.parquet", [[0], [2, 0], []], names, seed=1)
    module = ImageDataModule(str(tmp_path / "train.parquet"), influence_path=str(other), val_size=8, test_size=8)
    assert module.influence_set()[1].tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 0]]


def test_an_unlabelled_test_split_is_for_predict(tmp_path: Path) -> None:
    strings(tmp_path / "train" / "metadata.csv")
    rng = np.random.default_rng(5)
    (tmp_path / "test").mkdir()
    for number in range(3):
        random_image(rng).save(tmp_path / "test" / f"{number}.png")
    module = ImageDataModule(str(tmp_path), label_separator="|", influence_size=8, val_size=8)
    assert module.test_images.labels.tolist() == [[-1.0] * 3] * 3
    with pytest.raises(ValueError, match="the test images have no labels"):
        module.test_dataloader()


def test_folds_take_turns(tmp_path: Path) -> None:
    module = ImageDataModule(
        strings(tmp_path / "list.csv"), label_separator="|", influence_source="cross_fit", folds=3, **SMALL
    )
    seen = []
    for epoch in range(3):
        module.rotate(epoch)
        images, labels = module.influence_set()
        assert labels.shape == (len(images), 3)
        assert (labels.sum(dim=0) > 0).all()
        seen.append(images)
    assert len(torch.cat(seen).flatten(1).unique(dim=0)) == 3 * len(seen[0])


def test_one_label_an_image_stays_what_it_was(tmp_path: Path) -> None:
    module = ImageDataModule(str(write_image_folder(tmp_path, {"cat": 20, "dog": 20})), **SMALL)
    assert not module.multilabel
    assert module.splits.train.labels.dtype == torch.int64
    module.check_one_label("attribute")


def fails(message: str, path: Path | str, **arguments: Any) -> None:
    with pytest.raises(ValueError, match=message):
        _ = ImageDataModule(str(path), **{**SMALL, **arguments}).splits


@pytest.mark.parametrize(
    ("value", "found"), [("2", "'2' in 1 of 40"), ("", "empty in 1 of 40"), ("nan", "'nan'"), ("yes", "'yes'")]
)
def test_other_values_than_0_and_1(value: str, found: str, tmp_path: Path) -> None:
    rows = [[str(int(cell)) for cell in row] for row in MATRIX]
    rows[7][1] = value
    file = write_rows(tmp_path / "list.csv", KINDS, rows)
    fails(
        f"column 'cat' of .* must hold 0 or 1 for each image, found {found}.*first in row 7",
        file,
        label_column=list(KINDS),
    )


@pytest.mark.parametrize(("cell", "found"), [(float("nan"), "nan"), (0.5, "0.5"), (None, "empty"), (-1.0, "-1.0")])
def test_other_numbers_than_0_and_1(cell: float | None, found: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cats: list[Any] = MATRIX[:, 1].tolist()
    cats[3] = cell
    table = datasets.Dataset.from_dict({"image": [random_image(rng) for _ in SETS], "cat": cats, "dog": MATRIX[:, 2]})
    table.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / "train.parquet"))
    fails(f"column 'cat' .*found {found} in 1 of 40 rows, first in row 3", tmp_path, label_column=["cat", "dog"])


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "list.csv", KINDS, MATRIX.astype(int).tolist())
    fails("has no column 'cow', only .*bird, cat, dog", file, label_column=["cat", "cow"])
    fails("two or more different columns of 0 and 1, found \\['cat'\\]", file, label_column=["cat"])
    fails("two or more different columns", file, label_column=["cat", "cat"])
    fails("label_separator divides the strings of one column", file, label_column=["cat", "dog"], label_separator="|")


def test_classes_that_cannot_be_learned(tmp_path: Path) -> None:
    rows = np.concatenate([MATRIX, np.zeros((len(SETS), 1)), np.ones((len(SETS), 1))], axis=1).astype(int).tolist()
    file = write_rows(tmp_path / "list.csv", [*KINDS, "cow", "animal"], rows)
    fails("no image of .* has the label 'cow', so that it cannot be learned", file, label_column=[*KINDS, "cow"])
    fails("every image of .* has the label 'animal'.*without it", file, label_column=[*KINDS, "animal"])
    named = datasets.Sequence(datasets.ClassLabel(names=[*KINDS, "cow"]))
    write_parquet(tmp_path / "named" / "train.parquet", [[KINDS.index(one) for one in row] for row in SETS], named)
    fails("no image of .* has the label 'cow'", tmp_path / "named")


def test_classes_that_the_training_data_lack(tmp_path: Path) -> None:
    file = strings(tmp_path / "list.csv")
    other = write_rows(tmp_path / "other.csv", ["label"], [["dog|cow"], ["cat"]], seed=3)
    fails(
        "has classes that the training data lack: cow; theirs are bird, cat, dog",
        file,
        label_separator="|",
        influence_path=other,
    )


def test_strings_that_a_separator_does_not_fit(tmp_path: Path) -> None:
    file = strings(tmp_path / "list.csv")
    fails("no label of .* has label_separator ';', for instance 'cat'", file, label_separator=";")
    fails("label_separator must be a character other than a space", file, label_separator=" ")
    double = write_rows(tmp_path / "double.csv", ["label"], [["cat||dog"], ["cat|dog"]] * 20)
    fails(r"has no name on one side of label_separator '\|': 'cat\|\|dog'", double, label_separator="|")
    folder = write_image_folder(tmp_path / "folder", {"cat": 20, "dog": 20})
    fails("label_separator divides strings, and column 'label' .* is of type ClassLabel", folder, label_separator="|")


def test_a_missing_separator_is_a_warning(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "list.csv", ["label"], [["|".join(labels) or "none"] for labels in SETS * 2])
    module = ImageDataModule(file, **SMALL)
    with pytest.warns(UserWarning, match=r"look like several for an image, for instance 'bird\|cat\|dog'.*4 classes"):
        _ = module.splits
    assert module.num_classes == 7


@pytest.mark.parametrize(
    ("rows", "feature", "message"),
    [
        ([[0, 1, 1], [1, 0, 0]] * 20, datasets.Value("int64"), "look like a 0 or 1 for each class, found .0, 1, 1."),
        ([[0, 1], [1, 0]] * 20, datasets.Value("int64"), "every image of .* has the label '0', '1'"),
        ([[0, 3], [1]] * 20, datasets.Value("int64"), "must be 0..K-1 with no number left out, found .0, 1, 3."),
        ([[0, -1], [1]] * 20, datasets.Value("int64"), "must be 0..K-1 with no number left out, found .-1, 0, 1."),
        ([["cat"], None] * 20, datasets.Value("string"), "the labels of 20 images of .* are null"),
        ([["cat"], ["dog", None]] * 20, datasets.Value("string"), "the labels of 20 images of .* are null"),
        ([[], []] * 20, datasets.Value("string"), "no image of .* has a label"),
        ([[0.0], [1.0]] * 20, datasets.Value("float32"), "label_column 'label' of .* holds lists of float32"),
    ],
)
def test_lists_that_are_no_labels(rows: list, feature: Any, message: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", rows, datasets.Sequence(feature))
    fails(message, tmp_path, label_column="label")


def test_objects_of_one_class_count_once(tmp_path: Path) -> None:
    rows = [["cat", "cat", "dog"], ["dog"], ["cat"], []] * 10
    write_parquet(tmp_path / "train.parquet", rows, datasets.Sequence(datasets.Value("string")))
    module = ImageDataModule(str(tmp_path), **SMALL)
    assert set(map(tuple, labels_of(module).values())) == {(1, 1), (0, 1), (1, 0), (0, 0)}


def test_splits_of_two_kinds(tmp_path: Path) -> None:
    write_parquet(tmp_path / "lists" / "train.parquet", SETS, datasets.Sequence(datasets.Value("string")))
    folder = write_image_folder(tmp_path / "folder", {"cat": 20, "dog": 20}, seed=1)
    message = "has a list of labels an image, and the influence set of .* has one label an image: write them alike"
    fails(message, tmp_path / "lists", influence_path=str(folder))
    message = "has one label an image, and the influence set of .* has a list of labels an image"
    fails(message, folder, influence_path=str(tmp_path / "lists"))


def test_create_refuses_several_labels(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", SETS, datasets.Sequence(datasets.Value("string")))
    with pytest.raises(ValueError, match="has several labels an image, for which create writes no configuration"):
        read_facts(tmp_path, None)
