"""Figures of a run."""

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from augnet.atomic_file import write_atomically


def augmentation_grid(rows: Tensor) -> Figure:
    """Originals on top, draws of the policy below.

    Args:
        rows: `[R, N, C, H, W]` in [0, 1]; the first row is the originals.
    """
    count_rows, count_columns = rows.shape[:2]
    width, height = 1.1 * count_columns + 0.3, 1.1 * count_rows
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(0.3 / width, 0.05 / height, 1 - 0.05 / width, 1 - 0.05 / height, 0.05, 0.05)
    axes = figure.subplots(count_rows, count_columns, squeeze=False)
    for row_axes, row in zip(axes, rows, strict=True):
        for axis, image in zip(row_axes, row, strict=True):
            pixels = image.clamp(0, 1).permute(1, 2, 0).numpy()
            axis.imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("original")
    for draw, row_axes in enumerate(axes[1:], start=1):
        row_axes[0].set_ylabel(f"draw {draw}")
    return figure


def plot_ranges(history: dict[int, dict[str, float]], quantity: str = "half-width / bound") -> Figure:
    """What was learned about every op over training.

    Args:
        history: Step -> op -> number in [0, 1]; at least one step, the same ops at each.
        quantity: What the numbers are.
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
    """A figure as an image `[3, H, W]` of bytes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG file atomically."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_atomically(path, buffer.getvalue())
