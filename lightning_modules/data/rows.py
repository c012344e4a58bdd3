"""Files of row numbers of the training split: one a line, or the column `index` of a CSV file."""

import csv
from pathlib import Path

import torch
from torch import Tensor

ROW_FILES = (".txt", ".csv")


def read_rows(path: str, count: int, field: str) -> Tensor:
    """Read the row numbers of a file.

    Args:
        path: A text file of one number a line (empty lines and what follows `#` are skipped), or a CSV file with a
            column `index`, such as rows of the `attribution.csv` of `train.py attribute`.
        count: Rows of the training split, N.
        field: Name of the argument that `path` came from, for error messages.

    Returns:
        `[R]` int64, in increasing order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no rows, all rows, a row twice, or anything that is no row number.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{field}: there is no file {path}.")
    if file.suffix not in ROW_FILES:
        raise ValueError(f"{field}: expected row numbers in a file ending in .txt or .csv, found {path}.")
    words = _csv_column(file, field) if file.suffix == ".csv" else _lines(file)
    try:
        rows = [int(word) for word in words]
    except ValueError as error:
        raise ValueError(f"{field}: {path} holds something that is no row number ({error}).") from error
    if not rows:
        raise ValueError(f"{field}: {path} holds no row numbers.")
    if not 0 <= min(rows) <= max(rows) < count:
        raise ValueError(
            f"{field}: rows of the training split are 0 to {count - 1}, found {min(rows)} to {max(rows)} in {path}: "
            "give the data that the rows were numbered with."
        )
    if len(set(rows)) < len(rows):
        raise ValueError(f"{field}: {path} names a row twice; name each once.")
    if len(rows) == count:
        raise ValueError(f"{field}: {path} names all {count} rows of the training split; keep only those meant.")
    return torch.tensor(sorted(rows))


def _lines(file: Path) -> list[str]:
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    return [line for line in lines if line]


def _csv_column(file: Path, field: str) -> list[str]:
    with file.open(newline="") as opened:
        reader = csv.DictReader(opened)
        if "index" not in (reader.fieldnames or []):
            raise ValueError(f"{field}: {file} has no column 'index', found {', '.join(reader.fieldnames or [])}.")
        return [row["index"] for row in reader]
