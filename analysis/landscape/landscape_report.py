"""The figure and the table of a loss landscape."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from ..text_table import TextTable
from .flatness import Walk

LEGEND = (
    "Flatness is the distance along random directions at which the loss reaches the threshold; 1 is the norm of the "
    "weights, larger is flatter. The noise scale is the batch size at which noise and signal of a gradient "
    "are equal."
)


def plot_walks(walks: list[Walk], threshold: float) -> Figure:
    """Draw the loss along each direction up to the threshold."""
    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axis = figure.subplots()
    for walk in walks:
        axis.plot(walk.steps, walk.losses, ".-", color="C0", alpha=0.5, linewidth=1)
    reached = [walk.distance for walk in walks if math.isfinite(walk.distance)]
    axis.plot(reached, [threshold] * len(reached), "o", color="C1", label="reaches the threshold")
    axis.axhline(threshold, color="0.25", linewidth=0.8)
    axis.set(xlabel="distance in units of the filters' norms", ylabel="training loss, unaugmented")
    axis.set_ylim(0, max(2 * threshold, 1.1 * walks[0].losses[0]))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")
    return figure


def landscape_table(result: Mapping[str, Any]) -> TextTable:
    """Return the table of loss, flatness and gradient noise from the result of the command `landscape`."""
    found, noise = result["flatness"], result["gradient_noise"]
    whole, units = noise["parameters"], noise["filter_units"]
    rows = [
        ["training loss", _text(result["train_loss"])],
        ["flatness, in filter norms", _text(found["distance"], "infinite")],
        ["deviation over directions", _text(found["deviation"])],
        ["directions that reach the threshold", f"{found['reached']} of {len(found['distances'])}"],
        ["gradient spread", _text(whole["spread"])],
        ["signal to noise", _text(whole["signal_to_noise"], "infinite")],
        ["noise scale, images", _text(whole["noise_scale"], "infinite")],
        ["noise scale in filter units, images", _text(units["noise_scale"], "infinite")],
    ]
    return TextTable("Loss landscape, unaugmented training images", ["measure", "value"], rows)


def _text(value: float | None, unknown: str = "-") -> str:
    return unknown if value is None else f"{value:.4g}"
