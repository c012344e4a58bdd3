"""Figures and images as elements of a page: SVG that takes the color of the text around it, PNG inside the page."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import matplotlib as mpl
import torch.nn.functional as F
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

WIDTH = 4.3  # inches: 310 points, drawn as wide as a phone, so that its text stays readable there
COLORS = (
    "#2f7fc1", "#c2600f", "#2b8a5a", "#c44d4d", "#8a67c9",
    "#94703f", "#1c8a8a", "#b84a95", "#7d8019", "#767b83",
)  # fmt: skip  # at least 3 : 1 against a white and against a nearly black page
_INK = "#010203"  # stands for the color of the text
_LARGEST = 96  # pixels across or down of an image in a grid
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "augfluence",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.0,
    "axes.facecolor": "none",
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

page_style = mpl.rc_context(_STYLE)  # of the functions that create figures


@page_style
def drawing(figure: Figure, name: str, alt: str) -> Markup:
    """Return a figure as an `<svg>` element; a name that is unique on the page goes in front of all its ids."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    head, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    if box is None:
        raise RuntimeError("matplotlib wrote an SVG file without a viewBox")
    return Markup(f'<svg role="img" aria-label="{escape(alt)}" {box[0]}>{rest}')


def photograph(image: Tensor, alt: str, zoom: int = 1) -> Markup:
    """Return an image `[C, H, W]` in [0, 1] as an `<img>` element, `zoom` pixels of the screen for one of the image.

    Of other than three channels the first is shown.
    """
    channels = image if len(image) == 3 else image[:1]
    pixels = to_pil_image((channels.clamp(0, 1) * 255).round().byte().cpu())
    buffer = io.BytesIO()
    pixels.save(buffer, format="png")
    return _img(buffer.getvalue(), alt, (zoom * pixels.width, zoom * pixels.height), "pixels")


def image_grid(rows: Tensor, alt: str) -> Markup:
    """Return images `[R, N, C, H, W]` in [0, 1] as one `<img>` element, with a gap between them."""
    across = rows.shape[1]
    images = smaller(rows.flatten(0, 1))
    return photograph(make_grid(images, nrow=across, padding=1, pad_value=0.5), alt, max(1, 64 // images.shape[-1]))


def smaller(images: Tensor) -> Tensor:
    """Return images `[N, C, H, W]`, resized to the largest size of a page if they exceed it."""
    factor = _LARGEST / max(images.shape[-2:])
    if factor >= 1:
        return images
    return F.interpolate(images, scale_factor=factor, mode="bilinear", antialias=True)


def picture_file(path: Path, alt: str) -> Markup:
    """Return a PNG file as an `<img>` element with the file in it.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no PNG file.
    """
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["png"]) as image:
            size = image.size
    except OSError as error:
        raise ValueError(f"{path} is no PNG file: run the analysis again.") from error
    return _img(content, alt, size, "plot")


def _img(png: bytes, alt: str, size: tuple[int, int], kind: str) -> Markup:
    source = base64.b64encode(png).decode()
    return Markup('<img class="{}" alt="{}" width="{}" height="{}" src="data:image/png;base64,{}">').format(
        kind, alt, *size, source
    )
