"""Contact sheets: the first images of a ranking with their labels and scores."""

from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from lightning_modules.attribution.score_table import RANKINGS, AttributionTable

_ACROSS = 8  # images in a row
_CELL = (1.25, 1.65)  # inches across and down of each image
_HEADER = 0.75  # inches


def contact_sheet(table: AttributionTable, ranking: str, top: int) -> Figure:
    """Draw the first images of a ranking, with their label, the suggested label if it differs, and the score.

    Args:
        table: The scores.
        ranking: A key of `RANKINGS`.
        top: Largest number of images, at least 1.

    Returns:
        The figure.

    Raises:
        ValueError: If there is no such ranking.
    """
    chosen = table.order(ranking)[:top]
    headline, column = RANKINGS[ranking]
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
    """Convert an image `[C, H, W]` to an array for matplotlib: `[H, W, 3]`, or `[H, W]` for gray images."""
    return (image[0] if len(image) == 1 else image.permute(1, 2, 0)).numpy()
