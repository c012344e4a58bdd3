"""Files and printed tables of an attribution; contact sheets show the first images of a ranking."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from augnet.atomic_file import write_atomically
from lightning_modules.attribution.score_table import RANKINGS, AttributionTable
from lightning_modules.monitoring.plots import save_figure

_PRINTED = 8  # images of each ranking on the terminal
_ACROSS = 8  # images in a row of a contact sheet
_SIDE = 1.15  # inches of the longer side of an image
_GAP = 0.1  # inches between two images
_TITLE = 0.4  # inches above an image
_HEADER = 0.75  # inches


def write_attribution(table: AttributionTable, folder: Path, top: int) -> None:
    """Print the first images of each ranking; write `attribution.csv` and a contact sheet `RANKING.png` of each.

    Args:
        table: The scores.
        folder: Folder of the files; made if needed. Files of an earlier attribution are replaced.
        top: Images on each contact sheet, at least 1; at most eight are printed.

    Raises:
        OSError: If the folder cannot be written.
    """
    write_atomically(folder / "attribution.csv", table.csv())
    for ranking in RANKINGS:
        save_figure(contact_sheet(table, ranking, top), folder / f"{ranking}.png")
    console = Console()
    for ranking in RANKINGS:
        console.print(_ranking_table(table, ranking, min(top, _PRINTED)))
    for name in ("attribution.csv", *(f"{ranking}.png" for ranking in RANKINGS)):
        console.print(f"Written: {folder / name}", soft_wrap=True)


def _ranking_table(table: AttributionTable, ranking: str, top: int) -> Table:
    """Return the first images of a ranking as a table."""
    headline, column = RANKINGS[ranking]
    screen = Table(title=headline, title_justify="left")
    for name in ("index", "source", "label", "predicted", "suggested", column):
        screen.add_column(name, justify="right" if name in ("index", column) else "left")
    for row in (table.row(index) for index in table.order(ranking)[:top].tolist()):
        cells = (str(row[name]) for name in ("index", "source", "label_name", "predicted", "suggested"))
        screen.add_row(*cells, f"{row[column]:.3g}")
    return screen


def contact_sheet(table: AttributionTable, ranking: str, top: int) -> Figure:
    """Draw the first images of a ranking, with their label, the suggested label if it differs, and the score.

    Args:
        table: The scores.
        ranking: A key of `RANKINGS`.
        top: Largest number of images, at least 1.

    Raises:
        ValueError: If there is no such ranking.
    """
    chosen = table.order(ranking)[:top].tolist()
    headline, column = RANKINGS[ranking]
    width = _ACROSS * (_SIDE + _GAP) + _GAP
    height = _HEADER + -(-len(chosen) // _ACROSS) * (_TITLE + _SIDE) + _GAP
    figure = Figure(figsize=(width, height))
    figure.suptitle(headline, y=1 - 0.2 * _HEADER / height)
    axis = figure.add_axes((0, 0, 1, 1))  # one for all, in inches: an axis an image takes seconds to draw
    axis.set(xlim=(0, width), ylim=(0, height), autoscale_on=False)
    axis.axis("off")
    pixels = table.images.__getitems__(chosen)[0]
    side = _SIDE / max(pixels.shape[2:])  # of a pixel
    for place, (index, image) in enumerate(zip(chosen, pixels, strict=True)):
        row = table.row(index)
        suggestion = "" if row["suggested"] == row["label_name"] else f" → {row['suggested']}"
        left = _GAP + place % _ACROSS * (_SIDE + _GAP)
        bottom = height - _HEADER - (place // _ACROSS + 1) * (_TITLE + _SIDE) + _TITLE
        right, top_edge = left + side * image.shape[2], bottom + side * image.shape[1]
        axis.imshow(_picture(image), cmap="gray", vmin=0, vmax=1, extent=(left, right, bottom, top_edge), aspect="auto")
        title = f"{row['label_name']}{suggestion}\n{row[column]:.3g}"
        axis.text((left + right) / 2, top_edge + 0.04, title, fontsize=7, ha="center", va="bottom")
    return figure


def _picture(image: Tensor) -> Any:
    """Convert an image `[C, H, W]` to an array for matplotlib: `[H, W, 3]`, or `[H, W]` for gray images."""
    return (image[0] if len(image) == 1 else image.permute(1, 2, 0)).numpy()
