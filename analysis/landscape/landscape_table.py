"""The table of a loss landscape."""

from collections.abc import Mapping
from typing import Any

from ..text_table import TextTable

LEGEND = (
    "Flatness is the distance along random directions at which the loss reaches the threshold; 1 is the norm of the "
    "weights, larger is flatter. The noise scale is the batch size at which noise and signal of a gradient "
    "are equal."
)


def landscape_table(result: Mapping[str, Any]) -> TextTable:
    """Return the table of loss, flatness and gradient noise.

    Args:
        result: Of the command `landscape`.
    """
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
