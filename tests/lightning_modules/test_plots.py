import io
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from lightning_modules.monitoring.plots import as_pixels, augmentation_grid, plot_ranges, save_figure


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_grid_shows_the_originals_on_top(channels: int) -> None:
    rows = torch.rand(3, 4, channels, 25, 40, generator=torch.Generator().manual_seed(0))
    (axis,) = augmentation_grid(rows).axes
    shown = np.asarray(axis.images[0].get_array())
    assert shown.shape == (3 * (25 + 2) + 2, 4 * (40 + 2) + 2, 3)
    seen = np.zeros(shown.shape[:2], dtype=bool)
    for row in range(3):
        for column in range(4):
            place = np.s_[2 + 27 * row : 27 * (row + 1), 2 + 42 * column : 42 * (column + 1)]
            expected = rows[row, column].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(shown[place], expected if channels == 3 else expected[..., [0, 0, 0]])
            seen[place] = True
    assert (shown[~seen] == 1).all()  # white between them
    assert [label.get_text() for label in axis.get_yticklabels()] == ["original", "draw 1", "draw 2"]
    assert [int(place - 2) // 27 for place in axis.get_yticks()] == [0, 1, 2]


def test_grid_of_one_image_without_draws() -> None:
    (axis,) = augmentation_grid(torch.full((1, 1, 1, 4, 4), 1.5)).axes
    assert np.asarray(axis.images[0].get_array()).max() == 1
    assert [label.get_text() for label in axis.get_yticklabels()] == ["original"]


def test_ranges_are_one_line_an_op() -> None:
    ops = [f"op{number}" for number in range(12)]
    history = {step: {op: (step + number) / 100 for number, op in enumerate(ops)} for step in (4, 8, 20)}
    (axis,) = plot_ranges(history).axes
    assert [line.get_label() for line in axis.lines] == ops
    for number, line in enumerate(axis.lines):
        assert np.asarray(line.get_xdata()).tolist() == [4, 8, 20]
        assert np.asarray(line.get_ydata()).tolist() == [(step + number) / 100 for step in (4, 8, 20)]
    assert axis.get_ylim() == (0, 1)
    looks = {(line.get_color(), line.get_linestyle()) for line in axis.lines}
    assert len(looks) == len(ops)  # told apart, though there are ten colours
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ops


def test_figure_on_disk(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1))
    path = tmp_path / "new" / "figure.png"
    save_figure(figure, path)
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        assert picture.format == "PNG"
        assert picture.size == (260, 130)
    assert [file.name for file in path.parent.iterdir()] == ["figure.png"]


def test_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    figure = plot_ranges({0: {"rotation": 0.1}, 5: {"rotation": 0.9}})
    figure.set_layout_engine("none")
    figure.set_dpi(130)
    pixels = as_pixels(figure)
    save_figure(figure, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        np.testing.assert_array_equal(pixels, np.asarray(picture.convert("RGB")).transpose(2, 0, 1))
