"""Contact sheets: the first images of a ranking with their labels and scores."""

from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from lightning_modules.attribution.score_table import RANKINGS, AttributionTable

_ACROSS = 8  # images in a row
_SIDE = 1.15  # inches of the longer side of an image
_GAP = 0.1  # inches between two images
_TITLE = 0.4  # inches above an image
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
