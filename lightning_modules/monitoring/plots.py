"""Figures of a run."""

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from augnet.atomic_file import write_atomically


def augmentation_grid(rows: Tensor) -> Figure:
    """Draw original images, the first of the rows `[R, N, C, H, W]` in [0, 1], and draws of the policy below."""
    count, columns, channels = rows.shape[:3]
    images = rows.flatten(0, 1).clamp(0, 1)[:, : 3 if channels == 3 else 1]
    # one axis for all: an axis an image takes longer to draw than a short run to train
    grid = make_grid(images, columns, padding=max(1, rows.shape[-1] // 20), pad_value=1.0)
    width = 1.1 * columns
    figure = Figure(figsize=(0.3 + width, width * grid.shape[1] / grid.shape[2]))
    axis = figure.add_axes((0.3 / (0.3 + width), 0, width / (0.3 + width), 1))
    axis.imshow(grid.permute(1, 2, 0).numpy())
    places = [(row + 0.5) * grid.shape[1] / count - 0.5 for row in range(count)]
    names = ["original", *(f"draw {draw}" for draw in range(1, count))]
    axis.set_yticks(places, names, rotation="vertical", va="center")
    axis.tick_params(length=0)
    axis.set(xticks=[], frame_on=False)
    return figure


def plot_ranges(history: dict[int, dict[str, float]], quantity: str = "half-width / bound") -> Figure:
    """Plot a learned quantity of every op over the training steps.

    Args:
        history: Step -> op -> number in [0, 1]; at least one step, the same ops at each.
        quantity: Name of the quantity.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    steps = list(history)
    styles = ("-", "--", ":")
    for index, op in enumerate(next(iter(history.values()))):
        values = [history[step][op] for step in steps]
        axis.plot(steps, values, styles[index // 10 % len(styles)], label=op)
    axis.set(xlabel="training step", ylabel=quantity, ylim=(0, 1), title="Learned policy")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def as_pixels(figure: Figure) -> np.ndarray:
    """Render a figure as an image, uint8 `[3, H, W]`."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG file atomically."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_atomically(path, buffer.getvalue())
