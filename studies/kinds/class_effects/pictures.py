"""Figures of class effects."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.class_effects.effect_tables import agreement_text

_TITLES = {"original": "by the label", "multi_label": "by all answers people give"}


def class_picture(result: Mapping[str, Any]) -> Figure:
    """Draw the change of accuracy and of false positives of each class from its best strength to the strongest.

    Args:
        result: As for `effect_tables`.
    """
    names = [name for name in _TITLES if name in result]
    classes = result["classes"]
    figure = Figure(figsize=(9, 0.32 * len(classes) + 1.7), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        rows = result[name]["classes"]
        places = np.arange(len(rows)) + (index - (len(names) - 1) / 2) * height
        changes = [100 * row["change"] for row in rows]
        growth = [row["false_positive_growth"] for row in rows]
        _bars(left, places, changes, height, f"C{index}", _TITLES[name], [row["affected"] for row in rows])
        _bars(right, places, growth, height, f"C{index}", _TITLES[name], [row["absorbing"] for row in rows])
    left.set(yticks=range(len(classes)), yticklabels=classes, xlabel="change of accuracy, points")
    right.set_xlabel("more false positives")
    left.set_title("what classes lose")
    right.set_title("what classes absorb")
    left.invert_yaxis()
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def agreement_picture(result: Mapping[str, Any]) -> Figure:
    """Draw predicted against measured harm of each class: a row for each strength but the weakest.

    Args:
        result: As for `effect_tables`.
    """
    steps = result["prediction"]
    figure = Figure(figsize=(9, 3.7 * len(steps)), layout="constrained")
    axes = figure.subplots(len(steps), 2, squeeze=False)
    for row, step in zip(axes, steps, strict=True):
        measured = {
            "loss": ("measured rise of the loss", step["loss_rise"]),
            "accuracy": ("measured fall of accuracy, points", [100 * fall for fall in step["accuracy_fall"]]),
        }
        for axis, (name, (label, values)) in zip(row, measured.items(), strict=True):
            _named_points(axis, result["classes"], step["predicted"], values)
            axis.set(xlabel=f"predicted rise of the loss at strength {step['strength']:g}", ylabel=label)
            axis.set_title(f"rank correlation {agreement_text(step['agreement'][name])}", fontsize=10)
    return figure


def _named_points(axis: Axes, names: list[str], across: list[float], up: list[float]) -> None:
    """Draw points with their names, above and below in turn, so that neighbors do not overlap."""
    axis.scatter(across, up)
    for place, index in enumerate(np.argsort(across)):
        offset = (4, 3) if place % 2 else (4, -10)
        axis.annotate(names[index], (across[index], up[index]), xytext=offset, textcoords="offset points", fontsize=8)
    axis.margins(0.15)
    axis.spines[["top", "right"]].set_visible(False)


def _bars(
    axis: Axes, places: Any, values: list[float], height: float, color: str, label: str, significant: list[bool]
) -> None:
    """Draw horizontal bars; significant ones are opaque, the others pale."""
    for solid in (True, False):
        chosen = [index for index, flag in enumerate(significant) if flag == solid]
        axis.barh(
            places[chosen],
            [values[index] for index in chosen],
            height,
            color=color,
            alpha=1.0 if solid else 0.35,
        )
    axis.barh(0, 0, color=color, label=label)
    axis.axvline(0, color="0.25", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
