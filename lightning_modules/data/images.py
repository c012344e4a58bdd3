"""Data module of image folders, parquet files and datasets of the Hugging Face hub."""

from dataclasses import dataclass
from typing import Any

from lightning_modules.data.influence_data_module import InfluenceDataModule
from lightning_modules.data.labelled_images import Splits
from lightning_modules.learner.checks import check_numbers, require_package


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """The images of an `ImageDataModule` and their splits; the fields are its arguments, with its seed."""

    path: str
    image_column: str | None = None
    label_column: str | list[str] | None = None
    label_separator: str | None = None
    train_size: int | None = None
    influence_size: int = 200
    influence_path: str | None = None
    val_size: int = 1000
    test_size: int | None = None
    image_size: int | None = None
    memory_limit: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        label, separator = self.label_column, self.label_separator
        if label is None or isinstance(label, str):
            if separator is not None and not separator.strip():
                raise ValueError("label_separator must be a character other than a space, as | in cat|dog, found none.")
        elif separator is not None:
            raise ValueError(
                "label_separator divides the strings of one column, and label_column names several columns of 0 and 1: "
                "leave one of the two out."
            )
        elif len(set(label)) < max(len(label), 2):
            raise ValueError(
                f"label_column must name one column, or two or more different columns of 0 and 1, found {list(label)}."
            )


class ImageDataModule(InfluenceDataModule):
    """An image dataset from the Hugging Face hub, from parquet files, from an image folder or from a CSV file.

    `path` is the name of a hub dataset (`uoft-cs/cifar10`, or `owner/name:configuration`), a
    local folder of parquet files (`train.parquet`, `test.parquet`), an image folder
    (`train/CLASS/x.png` and `test/CLASS/x.png`, or `CLASS/x.png`), or a CSV file of paths relative to it and labels,
    which in an image folder is called `metadata.csv`. A test split that is there is the test
    split; otherwise a validation split that is there is; otherwise one is cut off the training data. A
    validation split beside a test split gives the validation images; otherwise they are cut off too.
    Test images without labels (`test/x.png`, or a table without label column) are for prediction alone.

    Images are turned upright by their EXIF orientation, put on white where they are transparent, and converted to
    8-bit gray or RGB; of an animation the first frame is read.

    Where an image may have several labels, or none, labels are float32 `[N, K]` of 0 and 1. Such data are told by a
    label column of lists, by `label_separator`, or by several columns in `label_column`. Splits keep the share of each
    class as far as possible, and may lack a rare one; the training split has all.

    Images that fit `memory_limit` are decoded once into memory, where a batch is one indexing operation;
    larger splits are decoded on the fly from memory-mapped files by `num_workers` processes.

    Args:
        path: Hub name, folder of parquet files, image folder, or CSV file.
        image_column: Name of the image column; by default the only column of images.
        label_column: Name of the label column; by default the only column of class labels, or the one
            called `label`. Labels are class labels, integers 0..K-1, or strings (numbered in sorted order), or lists of
            these. A list of names, as `[cat, dog]`, are columns of 0 and 1, one for each class.
        label_separator: What stands between the labels of an image in a column of strings, as `|` in `cat|dog`; an
            empty string has no label. By default a string is one label.
        train_size: Training images to keep, as many of each class as possible, with several labels an image in the
            proportions of the data; by default all.
        influence_size: Images of the influence set, cut off the training data; with `influence_path` the
            most that are taken from there.
        influence_path: Images that look like deployment: hub name or folder as for `path`, with the same
            classes. By default the influence set is cut off the training data.
        val_size: Images of the validation split (at most, where the data bring a validation split).
        test_size: Images of the test split; by default all of the test split that is there, or a fifth of
            the images where there is none.
        image_size: Side the images are resized to, in pixels: the shorter side is scaled (bilinear,
            antialiased), the center cropped. By default the images keep the size they have in common.
        batch_size: Images a batch.
        memory_limit: Most memory the decoded images of one split may take, in MiB; 0 decodes on the fly.
            The influence set is always in memory.
        **common: Further arguments of `InfluenceDataModule`.
    """

    def __init__(
        self,
        path: str,
        image_column: str | None = None,
        label_column: str | list[str] | None = None,
        label_separator: str | None = None,
        train_size: int | None = None,
        influence_size: int = 200,
        influence_path: str | None = None,
        val_size: int = 1000,
        test_size: int | None = None,
        image_size: int | None = None,
        batch_size: int = 128,
        memory_limit: int = 2048,
        **common: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, **common)
        require_package("datasets", "data", "ImageDataModule")
        check_numbers("data.", "[1, 1000000000]", influence_size=influence_size, val_size=val_size)
        check_numbers("data.", "[1, 1000000000] or null", train_size=train_size, test_size=test_size)
        check_numbers("data.", "[4, 10000] or null", image_size=image_size)
        check_numbers("data.", "[0, 1000000000]", memory_limit=memory_limit)
        self._source = ImageSource(
            path=path,
            image_column=image_column,
            label_column=label_column,
            label_separator=label_separator,
            train_size=train_size,
            influence_size=influence_size,
            influence_path=influence_path,
            val_size=val_size,
            test_size=test_size,
            image_size=image_size,
            memory_limit=memory_limit,
            seed=self.seed,
        )

    def load_splits(self) -> Splits:
        """Open and split the data, and decode the splits that fit in memory; the test split is not loaded."""
        from lightning_modules.data.image_splits import load_image_splits  # here, as `datasets` takes seconds to import

        return load_image_splits(self._source)
