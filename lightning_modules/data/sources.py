"""Sources of image tables: image folders, CSV and parquet files, datasets of the Hugging Face hub."""

import difflib
import re
from collections import defaultdict
from pathlib import Path

import datasets

from lightning_modules.data.image_folders import ENDINGS, SPLIT_OF, Tables, load_csv, load_image_folders
from lightning_modules.learner.paths import expanded

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(:[\w.-]+)?")


def load_tables(path: str, field: str = "path") -> Tables:
    """Open the data without decoding an image.

    Args:
        path: A local folder, parquet or CSV file (`~` and `$VARIABLES` are expanded), or a hub name `owner/name` or
            `owner/name:configuration`.
        field: Name of the argument that `path` came from, for error messages.

    Returns:
        Memory-mapped tables by split; local data without a split level are all `train`.

    Raises:
        FileNotFoundError: If the path does not exist; the message names similar paths.
        ValueError: If it holds neither parquet files nor an image folder, or its folders are no classes or splits.
    """
    if not path.strip():
        raise ValueError(f"{field} is empty: give a folder, a file or a name of the hub.")
    local = Path(expanded(path))
    if local.exists():
        return _load_local(local, field)
    if _HUB_NAME.fullmatch(path):
        return _load_hub(path, field)
    raise FileNotFoundError(f"{field}={path!r} does not exist.{_suggestion(local)}")


def _load_hub(path: str, field: str) -> Tables:
    """Load a dataset of the hub, from the cache if it is there."""
    name, _, configuration = path.partition(":")
    try:
        tables = datasets.load_dataset(name, configuration or None)
    except OSError as error:  # not found, no network, HF_HUB_OFFLINE
        raise FileNotFoundError(
            f"{field}={path!r} is no local folder, and the Hugging Face hub did not give it ({error}). "
            f"Check the name, connect to the network or unset HF_HUB_OFFLINE.{_suggestion(Path(path))}"
        ) from error
    except ValueError as error:  # several configurations, or an unknown one
        raise ValueError(
            f"{field}={path!r} cannot be loaded from the Hugging Face hub: {error}. "
            f"A configuration is chosen as {name}:configuration."
        ) from error
    return {SPLIT_OF.get(split, split): table for split, table in tables.items()}


def _load_local(local: Path, field: str) -> Tables:
    """Open parquet files, a CSV file or an image folder."""
    files = [local] if local.is_file() else sorted(local.rglob("*.parquet"))
    if files and all(file.suffix == ".parquet" for file in files):
        return _load_parquet(local, files)
    if local.suffix.lower() in (".csv", ".tsv") and local.is_file():
        return _by_split(load_csv(local, field))
    tables = {} if local.is_file() else load_image_folders(local, field)
    if not tables:
        found = local.suffix if local.is_file() else sorted(entry.name for entry in local.iterdir())[:8]
        raise ValueError(
            f"{field}={str(local)!r} holds neither parquet files nor an image folder, but {found}: give "
            "train.parquet and test.parquet, or CLASS/image.png, or train/CLASS/image.png and "
            f"test/CLASS/image.png, or a CSV file path,label; endings read as images: {' '.join(ENDINGS)}."
        )
    return tables


def _by_split(table: datasets.Dataset) -> Tables:
    """Divide a list of images by its column `split`, if it has one whose values all name splits; else all train."""
    named = [SPLIT_OF.get(str(value).lower()) for value in table["split"]] if "split" in table.column_names else [None]
    if None in named:
        return {"train": table}
    rows = {
        split: [row for row, name in enumerate(named) if name == split] for split in dict.fromkeys(SPLIT_OF.values())
    }
    return {str(split): table.select(found).remove_columns("split") for split, found in rows.items() if found}


def _load_parquet(local: Path, files: list[Path]) -> Tables:
    """Group the files by the split in the name of their folder or of themselves; without one, all are `train`."""
    groups: dict[str, list[str]] = defaultdict(list)
    for file in files:
        parts = file.relative_to(local).with_suffix("").parts if file != local else ()
        tokens = [re.split(r"[-_.]", part.lower())[0] for part in parts]
        groups[next((SPLIT_OF[token] for token in tokens if token in SPLIT_OF), "")].append(str(file))
    unnamed = groups.pop("", [])
    return dict(datasets.load_dataset("parquet", data_files=dict(groups) or {"train": unnamed}))


def _suggestion(missing: Path) -> str:
    """Return a suggestion of similar names beside a path that does not exist."""
    while not missing.parent.is_dir():
        missing = missing.parent
    names = [entry.name for entry in missing.parent.iterdir()]
    close = difflib.get_close_matches(missing.name, names, n=3)
    where = missing.parent.resolve()
    return f" Did you mean {' or '.join(str(where / name) for name in close)}?" if close else ""
