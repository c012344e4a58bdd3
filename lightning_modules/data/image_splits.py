"""Splits of image folders, parquet files and datasets of the hub; the part of `ImageDataModule` that reads images."""

from functools import partial

import torch
from pytorch_lightning.utilities import rank_zero_warn

from lightning_modules.data.columns import Columns
from lightning_modules.data.decoding import ImageFormat, probe_format
from lightning_modules.data.file_store import FileStore
from lightning_modules.data.image_table import ImageTable, open_single, open_tables
from lightning_modules.data.images import ImageSource
from lightning_modules.data.influence_data_module import InfluenceDataModule
from lightning_modules.data.labelled_images import LabelledImages, Splits
from lightning_modules.data.partition import Labels, partition
from lightning_modules.data.repeated_images import check_no_overlap, warn_of_shared_images, warn_of_two_labels
from lightning_modules.data.store import ImageStore


def load_image_splits(source: ImageSource) -> Splits:
    """Open and split the data, and decode the splits that fit in memory; the test split is not loaded."""
    opened = open_tables(source.path, source.influence_path, _columns(source))
    train = opened["train"]
    labels, names = train.labels()
    if len(names) < 2:
        raise ValueError(f"{train.where} has one class only, {', '.join(names)}: a classifier needs two at least.")
    image_format = probe_format(train.images(), source.image_size, train.where)
    tables, limit = cut_tables(opened, labels, names, source), source.memory_limit
    stores = {split: _stored(tables[split], image_format, limit) for split in ("train", "validation")}
    influence = FileStore(tables["influence"].images(), image_format, tables["influence"].where)
    if source.influence_path is not None:
        # Hashing reads the test images, but no test label.
        check_no_overlap(influence, stores | {"test": _stored(tables["test"], image_format, limit)})
    stores["influence"] = influence.decoded()

    loaded = {split: _labelled(tables[split], store, names) for split, store in stores.items()}
    used = {"training": loaded["train"], "validation": loaded["validation"]}
    warn_of_two_labels(loaded["train"], names)
    for split in ("validation",) if source.influence_path else ("validation", "influence"):
        warn_of_shared_images(split, loaded[split], {"training": loaded["train"]})
    load_test = partial(_load_test, tables["test"], image_format, names, source.test_size, source.seed, limit, used)
    deployment = source.influence_path is not None
    labelled = tables["test"].labelled
    return Splits(**loaded, load_test=load_test, class_names=names, deployment=deployment, test_labelled=labelled)


def _columns(source: ImageSource) -> Columns:
    label = source.label_column
    return Columns(source.image_column, tuple(label) if isinstance(label, list) else label, source.label_separator)


def cut_tables(
    opened: dict[str, ImageTable], labels: Labels, names: tuple[str, ...], source: ImageSource
) -> dict[str, ImageTable]:
    """Return the tables of all four splits; those without a table of their own are cut off the training data.

    `labels` and `names` are the classes of the training table.

    Raises:
        ValueError: If the images do not suffice, or a split cannot hold every class.
    """
    test_size = max(1, len(labels) // 5) if source.test_size is None else source.test_size
    if "test" in opened and source.test_size is not None and source.test_size > len(opened["test"]):
        raise ValueError(
            f"test_size={source.test_size}, but {opened['test'].where} has {len(opened['test'])} images: "
            "lower it, or leave it out to take them all."
        )
    parts = partition(
        labels,
        names,
        influence_size=0 if "influence" in opened else source.influence_size,
        val_size=0 if "validation" in opened else source.val_size,
        test_size=0 if "test" in opened else test_size,
        train_size=source.train_size,
        seed=source.seed,
    )
    tables = {
        split: opened["train"].select(rows) if len(rows) else opened[split] for split, rows in vars(parts).items()
    }
    for split, field, size in (
        ("influence", "influence_size", source.influence_size),
        ("validation", "val_size", source.val_size),
    ):
        tables[split] = tables[split].at_most(size, field, names, source.seed)
    own = opened.get("influence")
    if own is not None and len(own) > source.influence_size:
        rank_zero_warn(
            f"{own.where} has {len(own)} images, of which influence_size={source.influence_size} are used: set it to "
            "their number to use all."
        )
    return tables


def _load_test(
    table: ImageTable,
    image_format: ImageFormat,
    names: tuple[str, ...],
    size: int | None,
    seed: int,
    memory_limit: int,
    used: dict[str, LabelledImages],
) -> LabelledImages:
    """Load the test split, or `size` images of it; warn if it shares images with the splits that were used before.

    A function and no method: a reference to the data module would close a cycle, and worker processes of a loader that
    is freed by the garbage collector take five seconds to end.
    """
    if size is not None:
        table = table.at_most(size, "test_size", names, seed)
    images = _labelled(table, _stored(table, image_format, memory_limit), names)
    warn_of_shared_images("test", images, used)
    return images


def _stored(table: ImageTable, image_format: ImageFormat, memory_limit: int) -> ImageStore:
    """Return the images in memory if they fit, otherwise decoded on the fly."""
    files = FileStore(table.images(), image_format, table.where)
    return files.decoded() if files.fits(memory_limit) else files


def _labelled(table: ImageTable, store: ImageStore, names: tuple[str, ...]) -> LabelledImages:
    """Return stored images with the labels of their table."""
    return LabelledImages(store, torch.from_numpy(table.labels(names)[0]), table.sources)


def open_images(path: str, data: InfluenceDataModule, field: str) -> LabelledImages:
    """Read further images into memory, with the classes and the size of a data module.

    Args:
        path: Image folder, folder of parquet files, or hub name; if it has several splits, the training split.
        data: The data module. Images of another size are scaled and cropped to its own.
        field: Name of the argument that `path` came from, for error messages.

    Raises:
        ValueError: If there are no such images, or they have classes that the data module lacks.
    """
    table = open_single(path, field, f"the images of {field}")
    labels, _ = table.labels(data.class_names)
    store = FileStore(table.images(), ImageFormat(data.in_channels, *data.image_size, resize=True), table.where)
    return LabelledImages(store.decoded(), torch.from_numpy(labels), table.sources)
