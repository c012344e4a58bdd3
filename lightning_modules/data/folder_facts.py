"""Facts of a folder of images, read as `ImageDataModule` reads it: classes, sizes, splits, and an influence set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from lightning_modules.data.columns import Columns
from lightning_modules.data.decoding import ImageFormat, Probe, probe_images, probe_rows
from lightning_modules.data.file_store import FileStore
from lightning_modules.data.image_table import ImageTable, open_single, open_tables

INFLUENCE_NAMES = ("influence", "deployment")
"""Lower-case names of a folder beside the splits that is taken for the influence set."""
_LARGEST_SIDE = 64  # at which mean and deviation are measured, in pixels


@dataclass(frozen=True)
class InfluenceFacts:
    """Facts of an influence folder whose classes are among those of the training images.

    Args:
        path: The folder, absolute.
        counts: Images of each class of the training images, 0 for a class that it lacks.
        probe: Facts of a sample of its images.
    """

    path: str
    counts: dict[str, int]
    probe: Probe


@dataclass(frozen=True)
class FolderFacts:
    """Facts of a folder of images.

    Args:
        path: The folder, absolute.
        counts: Training images of each class, in the order of the labels.
        probe: Facts of a sample of the training images.
        mean: Mean of each channel over that sample, in [0, 1].
        std: Standard deviation of each channel, at least 0.05.
        splits: Images of the splits `validation` and `test` that have a folder. A validation folder without a test
            folder is the test split, as for `ImageDataModule`.
        test_labelled: False if the images of the test split have no labels.
        influence: Facts of the influence folder; None without one.
    """

    path: str
    counts: dict[str, int]
    probe: Probe
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: dict[str, int]
    test_labelled: bool = True
    influence: InfluenceFacts | None = None

    @property
    def channels(self) -> int:
        """Channels of the images: 1 for gray, 3 for RGB."""
        return self.probe.channels


def read_facts(path: Path, influence: Path | None) -> tuple[FolderFacts, dict[str, ImageTable]]:
    """Look at a folder: count its classes, open a sample of its images; no test label is read.

    Args:
        path: The folder, absolute.
        influence: The influence folder, absolute; by default one that is called as `INFLUENCE_NAMES` beside the splits.

    Returns:
        The facts, and the tables by split, with `influence` if there is such a folder.

    Raises:
        ValueError: If the folder holds no images in classes, one class only, images that cannot be read, or an
            influence folder in place of a class; or the classes of the influence folder are not among its own.
    """
    opened = open_tables(str(path), None, Columns())
    table = opened["train"]
    if table.multilabel:
        raise ValueError(
            f"{table.where} has several labels an image, for which create writes no configuration: copy "
            "configs/cifar10.yaml, set data.path, and leave out what docs/training.md says needs one label."
        )
    labels, names = table.labels()
    if len(names) < 2:
        raise ValueError(f"{table.where} has one class only, {', '.join(names)}: a classifier needs two at least.")
    _refuse_influence_class(path, names)
    influence = influence or _influence_folder(path, names)
    found = None
    if influence is not None:
        opened["influence"] = open_single(str(influence), "--influence", "the influence set")
        found = _influence_facts(influence, opened["influence"], names)
    probe = probe_images(table.images(), table.where)
    mean, std = _mean_and_std(table, probe)
    test = opened.get("test")
    facts = FolderFacts(
        path=str(path),
        counts=_counts(labels, names),
        probe=probe,
        mean=mean,
        std=std,
        splits={split: len(opened[split]) for split in ("validation", "test") if split in opened},
        test_labelled=test is None or test.labelled,
        influence=found,
    )
    return facts, opened


def _influence_folder(path: Path, names: Sequence[str]) -> Path | None:
    """Return the folder of the influence set beside the splits, if there is one and it is no class."""
    entries = sorted(path.iterdir()) if path.is_dir() else []
    known = (entry for entry in entries if entry.name.lower() in INFLUENCE_NAMES and entry.name not in names)
    return next((entry for entry in known if entry.is_dir()), None)


def _refuse_influence_class(path: Path, names: Sequence[str]) -> None:
    """Raise ValueError if an influence folder lies among the class folders, where it would be a class."""
    for name in names:
        below = {folder.name for folder in (path / name).iterdir()} if (path / name).is_dir() else set()
        if name.lower() in INFLUENCE_NAMES and below & set(names):
            raise ValueError(
                f"{path / name} lies among the class folders, where it is a class of its own: move it out of {path}, "
                f"and give it as --influence {name}."
            )


def _influence_facts(path: Path, table: ImageTable, names: tuple[str, ...]) -> InfluenceFacts:
    return InfluenceFacts(str(path), _counts(table.labels(names)[0], names), probe_images(table.images(), table.where))


def _counts(labels: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    """Return the number of labels of each class."""
    return dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))


def _mean_and_std(table: ImageTable, probe: Probe) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel over the probed images, scaled to one size."""
    side = min(_LARGEST_SIDE, int(median(min(size) for size in probe.sizes)))
    rows = table.images().select(probe_rows(len(table)))
    store = FileStore(rows, ImageFormat(probe.channels, side, side, resize=True), table.where)
    images = store.decoded().images.double() / 255
    mean, std = images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3)).clamp(min=0.05)
    return tuple(round(value, 3) for value in mean.tolist()), tuple(round(value, 3) for value in std.tolist())
