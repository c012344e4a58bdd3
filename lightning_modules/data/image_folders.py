"""Tables of the images in class folders, or in a CSV file that lists them; no image is decoded.

`field` is the name of the argument that a path came from, for error messages.
"""

import csv
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import datasets
from PIL import Image
from pytorch_lightning.utilities import rank_zero_warn
from torchvision.datasets.folder import IMG_EXTENSIONS

Tables = dict[str, datasets.Dataset]

ENDINGS = tuple(
    ending
    for ending in (*IMG_EXTENSIONS, ".apng", ".avif", ".gif", ".jfif", ".jp2", ".jpe", ".pbm", ".pnm", ".tga")
    if ending in Image.registered_extensions()
)
"""Endings of the files that are read as images, lower case."""

_ALIASES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
SPLIT_OF = {alias: split for split, aliases in _ALIASES.items() for alias in aliases}
"""Split by the lower-case name of a folder or file."""

_LISTING = "metadata.csv"


def load_csv(file: Path, field: str) -> datasets.Dataset:
    """Return the rows of a CSV file; the first column that holds paths relative to it becomes a column of images.

    The other columns hold strings, null where a field is empty. Fields are separated by commas, semicolons or tabs.

    Raises:
        ValueError: If there is no such column, or some of its files are missing.
    """
    rows = _read_rows(file, field)
    first = rows[0] if rows else {}
    table = datasets.Dataset.from_dict({name: [row[name] or None for row in rows] for name in first if name})
    column = next((name for name, value in first.items() if (file.parent / str(value or "")).is_file()), None)
    if column is None:
        raise ValueError(
            f"{field}: no column of {file} holds image files by their path relative to {file.parent}; first row: "
            f"{first}. Write it as path,label with one row an image."
        )
    paths = [str(file.parent / (value or "")) for value in table[column]]
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise ValueError(f"{field}: {len(missing)} of {len(paths)} images in {file} do not exist: {_some(missing)}.")
    _warn_of_repeated(paths, file, field)
    return table.remove_columns(column).add_column(column, paths).cast_column(column, datasets.Image())


def _read_rows(file: Path, field: str) -> list[dict[str, str | None]]:
    """Return the rows of a CSV file by the names of its header."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{field}: {file} is not in UTF-8 ({error}): save it in that encoding.") from error
    header = text.partition("\n")[0]
    lines = csv.DictReader(text.splitlines(keepends=True), delimiter=max(",;\t", key=header.count))
    names = [name.strip() for name in lines.fieldnames or []]
    if len(set(names)) < len(names):
        raise ValueError(f"{field}: two columns of {file} have one name, found {', '.join(names)}: rename one.")
    lines.fieldnames, rows = names, []
    for row in lines:
        if None in row:
            raise ValueError(
                f"{field}: line {lines.line_num} of {file} has more fields than the header: put a field that holds the "
                'separator in quotes ("...").'
            )
        rows.append({str(name): value and value.strip() for name, value in row.items()})
    return rows


def _warn_of_repeated(paths: list[str], file: Path, field: str) -> None:
    """Warn of images that are listed more than once: their copies may be in several splits, or in several classes."""
    repeated = [path for path, count in Counter(map(os.path.realpath, paths)).items() if count > 1]
    if repeated:
        rank_zero_warn(
            f"{field}: {file} lists {len(repeated)} images more than once ({_some(repeated, 3)}), so that one may "
            "train and test, or have two labels: list each once."
        )


def load_image_folders(root: Path, field: str) -> Tables:
    """Return `root/CLASS/image` as `train`, or `root/SPLIT/CLASS/image` as the splits, and warn of files not read.

    A `metadata.csv` in `root` or in a split lists its images instead. The images of the test split may lie directly in
    it: its table has no labels.

    Returns:
        The tables by split; none if there are neither folders nor images.

    Raises:
        ValueError: If folders cannot be read as classes or splits.
    """
    splits = _split_folders(root, field)
    tables: Tables = {}
    skipped: list[str] = []
    for split, folder in (splits or {"train": root}).items():
        if (folder / _LISTING).is_file():
            tables[split] = load_csv(folder / _LISTING, field)
        elif _folders(folder):
            tables[split] = _class_folders(folder, field, skipped)
        elif splits or _scan(folder)[0]:
            tables[split] = _unlabelled(folder, field, split, skipped)
    if splits:
        skipped += [str(folder) for folder in _folders(root) if folder not in splits.values()]
    if skipped:
        rank_zero_warn(f"{field}: not read in {root}, as no images in class folders: {_counted(skipped, root)}.")
    _check_classes(tables, field, root)
    return tables


def _split_folders(root: Path, field: str) -> dict[str, Path]:
    """Return the folders named as splits, if one of them holds class folders or a list of its images."""
    named = defaultdict(list)
    for folder in _folders(root):
        if folder.name.lower() in SPLIT_OF:
            named[SPLIT_OF[folder.name.lower()]].append(folder)
    if (root / _LISTING).is_file() or not any(
        _folders(folder) or (folder / _LISTING).is_file() for folders in named.values() for folder in folders
    ):
        return {}
    for split, folders in named.items():
        if len(folders) > 1:
            names = " and ".join(folder.name for folder in folders)
            raise ValueError(f"{field}: {names} in {root} both name the {split} split: keep one of them there.")
    return {split: folders[0] for split, folders in named.items()}


def _class_folders(folder: Path, field: str, skipped: list[str]) -> datasets.Dataset:
    """Return a table of the images in `folder/CLASS`; append the files that are not read to `skipped`."""
    skipped += [str(file) for file in sorted(folder.iterdir()) if file.is_file()]
    found = {one.name: _scan(one) for one in _folders(folder)}
    names = list(found)
    _warn_of_similar(names, folder, field)
    _check_levels(folder, names, [images for images, _ in found.values()], field)
    for name, (images, others) in found.items():
        if not images:
            held = f"but {_counted(others, folder / name)}" if others else "it is empty"
            raise ValueError(
                f"{field}: the class folder {folder / name} holds no image that can be read, {held}: add images or "
                f"remove it. Endings read as images: {' '.join(ENDINGS)}."
            )
        skipped += others
    columns = {
        "image": [image for images, _ in found.values() for image in images],
        "label": [label for label, (images, _) in enumerate(found.values()) for _ in images],
    }
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    return datasets.Dataset.from_dict(columns, features=features)


def _warn_of_similar(names: list[str], folder: Path, field: str) -> None:
    """Warn of class folders that people would write alike: they count as two classes."""
    alike = defaultdict(list)
    for name in names:
        alike[unicodedata.normalize("NFKC", name).casefold().strip()].append(name)
    for same in filter(lambda found: len(found) > 1, alike.values()):
        listed = " and ".join(map(repr, same))
        rank_zero_warn(
            f"{field}: {listed} in {folder} are two classes with names that hardly differ: join them if they are one."
        )


def _check_levels(folder: Path, names: list[str], images: list[list[str]], field: str) -> None:
    """Raise ValueError if all folders hold the same folders instead of images: sites or splits, not classes."""
    if any(files and Path(files[0]).parent == folder / name for name, files in zip(names, images, strict=True)):
        return
    below = [{inner.name for inner in _folders(folder / name)} for name in names]
    shared = sorted(set.intersection(*below))
    if len(shared) > 1:
        raise ValueError(
            f"{field}: {_some(names)} in {folder} look like sites or splits and not like classes, as each holds the "
            f"folders {_some(shared)}: give {folder / names[0]}, or join their class folders in one folder, or list "
            "the images in a CSV file path,label. If they are the classes, move the images directly into them."
        )


def _unlabelled(folder: Path, field: str, split: str, skipped: list[str]) -> datasets.Dataset:
    """Return a table of the images directly in the test folder, without labels."""
    images, others = _scan(folder)
    if split != "test" or not images:
        found = f"{len(images)} images without class folders" if images else "no image that can be read"
        raise ValueError(
            f"{field}: {folder} holds {found}: sort images into {folder / 'CLASS'}, or list them with their labels in "
            f"{folder / _LISTING} (file_name,label)."
        )
    skipped += others
    return datasets.Dataset.from_dict({"image": images}, features=datasets.Features({"image": datasets.Image()}))


def _check_classes(tables: Tables, field: str, root: Path) -> None:
    """Raise ValueError if a split has class folders that the training split lacks."""
    classes = {
        split: table.features["label"].names
        for split, table in tables.items()
        if isinstance(table.features.get("label"), datasets.ClassLabel)
    }
    train = classes.pop("train", None)
    for split, names in classes.items():
        unknown = [name for name in names if train is not None and name not in train]
        if unknown:
            raise ValueError(
                f"{field}: the {split} split of {root} has the class folders {_some(unknown)}, which the training "
                f"split lacks; it has {_some(train or [])}: rename or remove them."
            )


def _scan(folder: Path) -> tuple[list[str], list[str]]:
    """Return the image files in a folder and its visible folders, and their other files, both in order.

    Links are followed, but not to a folder that holds them.
    """
    images: list[str] = []
    others: list[str] = []
    for parent, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        above = os.path.realpath(parent)
        inside = (os.path.join(os.path.realpath(os.path.join(parent, name)), "") for name in sorted(folders))
        folders[:] = [
            name
            for name, target in zip(sorted(folders), inside, strict=True)
            if not name.startswith(".") and not os.path.join(above, "").startswith(target)
        ]
        for name in sorted(files):
            if name.encode(errors="replace").decode() != name:
                raise ValueError(f"the name of a file in {parent} is no text in UTF-8, {name!a}: rename it.")
            readable = not name.startswith(".") and Path(name).suffix.lower() in ENDINGS
            (images if readable else others).append(os.path.join(parent, name))
    return images, others


def _raise(error: OSError) -> None:
    """Raise the error of a folder that cannot be read, which `os.walk` would pass over."""
    raise error


def _folders(folder: Path) -> list[Path]:
    """Return the visible folders inside, sorted by name."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _counted(files: Iterable[str], root: Path) -> str:
    """Return the number of files of each ending, and the first of each by name."""
    groups = defaultdict(list)
    for file in files:
        groups[Path(file).suffix.lower() or "without ending"].append(os.path.relpath(file, root))
    return ", ".join(f"{len(names)} {ending} ({_some(names, 3)})" for ending, names in sorted(groups.items()))


def _some(names: list[str], most: int = 8) -> str:
    """Return the first names of a list."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
