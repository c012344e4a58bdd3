"""What an attribution leaves behind: all images in a CSV file, the first of each ranking as pictures and on screen."""

import csv
import io
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from augnet.atomic_file import write_atomically
from lightning_modules.attribution.score_table import RANKINGS, AttributionTable
from lightning_modules.monitoring.plots import save_figure

_ACROSS = 8  # images in a row of a contact sheet
_CELL = (1.25, 1.65)  # inches across and down of each
_HEADER = 0.75  # inches
_SHOWN = 8  # images of each ranking on the terminal
_HEADLINES = {
    "harmful": ("Most harmful: training on them raises the loss on the influence set", "influence"),
    "helpful": ("Most helpful: training on them lowers the loss on the influence set", "influence"),
    "mislabelled": ("Probably mislabelled: the loss of their label without them", "mislabel"),
}


def write_attribution(table: AttributionTable, folder: Path, top: int) -> list[Path]:
    """Write `attribution.csv`, `harmful.png`, `helpful.png` and `mislabelled.png`.

    Args:
        table: The scores.
        folder: Where to; made if needed. Files of an earlier attribution are replaced.
        top: Images on each contact sheet.

    Returns:
        The files.

    Raises:
        OSError: If the folder cannot be written.
    """
    paths = [folder / "attribution.csv", *(folder / f"{ranking}.png" for ranking in RANKINGS)]
    write_atomically(paths[0], _csv(table))
    for ranking, path in zip(RANKINGS, paths[1:], strict=True):
        save_figure(contact_sheet(table, ranking, top), path)
    return paths


def print_attribution(table: AttributionTable, top: int) -> None:
    """Print the first images of each ranking.

    Args:
        table: The scores.
        top: Images of each ranking, of which eight at most are shown.
    """
    for ranking in RANKINGS:
        headline, column = _HEADLINES[ranking]
        screen = Table(title=headline, title_justify="left")
        for name in ("index", "source", "label", "predicted", "suggested", column):
            screen.add_column(name, justify="right" if name in ("index", column) else "left")
        for index in table.order(ranking)[: min(top, _SHOWN)].tolist():
            row = table.row(index)
            screen.add_row(
                *(str(row[name]) for name in ("index", "source", "label_name", "predicted", "suggested")),
                f"{row[column]:.3g}",
            )
        Console().print(screen)


def contact_sheet(table: AttributionTable, ranking: str, top: int) -> Figure:
    """The first images of a ranking: given label, suggested label where it differs, score.

    Args:
        table: The scores.
        ranking: One of `RANKINGS`.
        top: Number of images, at least 1; fewer where there are fewer.

    Returns:
        The figure.

    Raises:
        ValueError: If there is no such ranking.
    """
    chosen = table.order(ranking)[:top]
    headline, column = _HEADLINES[ranking]
    down = -(-len(chosen) // _ACROSS)
    height = _CELL[1] * down + _HEADER
    figure = Figure(figsize=(_CELL[0] * _ACROSS, height))
    figure.suptitle(headline, y=1 - 0.2 * _HEADER / height)
    axes = figure.subplots(down, _ACROSS, squeeze=False).flatten()
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - _HEADER / height, wspace=0.06, hspace=0.35)
    pixels = table.images.__getitems__(chosen.tolist())[0]
    for axis in axes:
        axis.axis("off")
    for axis, index, image in zip(axes, chosen.tolist(), pixels, strict=False):
        row = table.row(index)
        suggestion = "" if row["suggested"] == row["label_name"] else f" → {row['suggested']}"
        axis.imshow(_picture(image), cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{row['label_name']}{suggestion}\n{row[column]:.3g}", fontsize=7)
    return figure


def _picture(image: Tensor) -> Any:
    """`[C, H, W]` as matplotlib wants it: an array `[H, W, 3]`, or `[H, W]` for grey images."""
    return (image[0] if len(image) == 1 else image.permute(1, 2, 0)).numpy()


def _csv(table: AttributionTable) -> str:
    """One row an image, in the order of the training split; ranks begin at 1."""
    ranks = {ranking: torch.empty(len(table.loss), dtype=torch.int64) for ranking in RANKINGS}
    for ranking, rank in ranks.items():
        rank[table.order(ranking)] = torch.arange(1, len(rank) + 1)
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for index in range(len(table.loss)):
        row = table.row(index)
        row |= {f"{ranking}_rank": int(rank[index]) for ranking, rank in ranks.items()}
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    return text.getvalue()
