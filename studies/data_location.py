"""The folder of the data sets, in one place.

Settings name data sets relative to it, so that results do not depend on where the data lie.
"""

import os
from pathlib import Path

VARIABLE = "AUGFLUENCE_DATA"
DEFAULT = Path("../shared/data")


def data_folder() -> Path:
    """Return the folder that the environment variable AUGFLUENCE_DATA names, `../shared/data` without it."""
    return Path(os.environ.get(VARIABLE, DEFAULT))


def data_path(name: str) -> str:
    """Return where a data set lies.

    Args:
        name: Of a folder below the data folder, an absolute path, or a hub name `OWNER/NAME`.

    Raises:
        FileNotFoundError: If there is no such folder and it is no hub name.
    """
    folder = data_folder() / name
    if folder.exists():
        return str(folder)
    if Path(name).is_absolute() or name.count("/") != 1:
        raise FileNotFoundError(f"there is no {folder}: name the folder of the data sets with --data or {VARIABLE}.")
    return name
