"""Scores of the training images: of all of them if `train.py attribute` has run, otherwise of some."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_modules.attribution.scoring import attribute_images
from lightning_modules.data import LabelledImages, MemoryStore

from ..run_folder import OpenedRun
from ..sampling import draw_rows

_COLUMNS = ("index", "source", "label_name", "predicted", "suggested", "influence")
Row = Mapping[str, Any]  # the columns above of an image, see `AttributionTable.row`


@dataclass(frozen=True)
class Scores:
    """Influence of training images on the loss of the influence set."""

    rows: Sequence[Row]  # of each image that was scored
    worst: Sequence[tuple[Tensor, Row]]  # the most harmful images `[C, H, W]` with their rows, the worst first
    of: int  # training images

    @property
    def influence(self) -> list[float]:
        """The influence of each image; positive is harmful."""
        return [row["influence"] for row in self.rows]


def read_scores(run: OpenedRun, shown: int) -> Scores | None:
    """Read the scores that `train.py attribute` wrote into the folder of the run; None if there are none.

    Raises:
        ValueError: If the file is damaged, or of other training images.
    """
    path = run.folder / "attribution" / "attribution.csv"
    if not path.is_file():
        return None
    rows = _rows(path)
    train = run.data.splits.train
    if len(rows) != len(train):
        raise ValueError(
            f"{path} is of {len(rows)} training images, the run has {len(train)}: run `train.py attribute` again."
        )
    return _scores(rows, train, len(train), shown)


def score_some(run: OpenedRun, images: int, seed: int, shown: int) -> Scores:
    """Score at most `images` training images, drawn at random, as if the run had been trained on them alone.

    Raises:
        ValueError: If the influence set is trained on.
    """
    train = run.data.splits.train
    some = _in_memory(train, sorted(draw_rows(len(train), images, seed)))
    table = attribute_images(run.model, run.data, images=some)
    rows = [table.row(index) for index in range(len(some))]
    return _scores(rows, some, len(train), shown)


def _in_memory(images: LabelledImages, rows: list[int]) -> LabelledImages:
    pixels, labels = images.__getitems__(rows)
    sources = images.sources()
    return LabelledImages(MemoryStore((pixels * 255).round().byte()), labels, lambda: [sources[row] for row in rows])


def _rows(path: Path) -> list[Row]:
    try:
        with path.open(newline="") as file:
            rows = [{name: row[name] for name in _COLUMNS} for row in csv.DictReader(file)]
        return [{**row, "index": int(row["index"]), "influence": float(row["influence"])} for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no table of an attribution ({type(error).__name__}: {error}): run `train.py attribute` again."
        ) from error


def _scores(rows: Sequence[Row], images: LabelledImages, of: int, shown: int) -> Scores:
    worst = sorted(rows, key=lambda row: -row["influence"])[:shown]
    pixels, _ = images.__getitems__([row["index"] for row in worst])
    return Scores(rows, list(zip(pixels, worst, strict=True)), of)
