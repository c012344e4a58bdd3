"""Figures of exchange rates: learning curves with their fits, and rates with their intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.exchange_rate import PowerLaw
from analysis.exchange_rate.worth_tables import TITLES


def plot_curves(summary: Mapping[str, Any]) -> Figure:
    """Draw accuracy against the number of training images: every seed, and the fitted power laws.

    Args:
        summary: As for `worth_tables`.
    """
    figure, panels = _panels(summary)
    for measure, axis in panels.items():
        for index, (arm, curve) in enumerate(summary[measure]["curves"].items()):
            color = f"C{index}" if index else "0.25"
            sizes = np.array(curve["sizes"], dtype=float)
            for seed_values in zip(*curve["accuracies"], strict=True):
                axis.plot(sizes, 100 * np.array(seed_values), "o", color=color, markersize=3, alpha=0.6)
            dense = np.geomspace(sizes.min(), sizes.max(), 100)
            law = PowerLaw(**curve["fit"])
            axis.plot(dense, 100 * law.accuracy(dense), color=color, label=arm)
        axis.set(xscale="log", xlabel="training images", ylabel="accuracy, %", title=TITLES[measure])
        _label_sizes(axis, summary[measure]["curves"].values())
    _legend(figure, panels)
    return figure


def plot_rates(summary: Mapping[str, Any]) -> Figure:
    """Draw exchange rates against the number of training images; hollow points are extrapolated, triangles infinite.

    Args:
        summary: As for `worth_tables`.
    """
    figure, panels = _panels(summary)
    for measure, axis in panels.items():
        rates = summary[measure]["rates"]
        top = _top(rates)
        for index, (arm, points) in enumerate(rates.items(), start=1):
            _plot_arm(axis, points, top, f"C{index}", arm)
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(xscale="log", xlabel="training images", title=TITLES[measure], ylabel="worth in extra images, v(x)")
        axis.set_yscale("symlog", linthresh=100)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.set_ylim(top=top * 2)
        _label_sizes(axis, summary[measure]["curves"].values())
    _legend(figure, panels)
    return figure


def _plot_arm(axis: Axes, points: list[dict[str, Any]], top: float, color: str, arm: str) -> None:
    shift = 1.03 ** (int(color[1:]) - 1)  # so that intervals of several arms can be told apart
    sizes = [point["size"] * shift for point in points]
    heights = [top if point["infinite"] else point["value"] for point in points]
    axis.plot(sizes, heights, color=color, label=arm)
    for size, height, point in zip(sizes, heights, points, strict=True):
        face = "white" if point["extrapolated"] else color
        axis.plot(size, height, "^" if point["infinite"] else "o", color=color, markerfacecolor=face, markersize=6)
        ends = [top if point[f"{end}_infinite"] else point[end] for end in ("low", "high")]
        if None not in ends:
            axis.plot([size, size], ends, color=color, linewidth=1, alpha=0.7)


def _top(rates: Mapping[str, list[dict[str, Any]]]) -> float:
    """Return the height at which infinity is drawn: above all finite numbers."""
    points = [point for arm in rates.values() for point in arm]
    ends: list[float] = [end for point in points for end in (point["value"], point["high"]) if end is not None]
    return max(2.0 * max(ends, default=0.0), 1000.0)


def _panels(summary: Mapping[str, Any]) -> tuple[Figure, dict[str, Axes]]:
    measures = [measure for measure in TITLES if measure in summary]
    figure = Figure(figsize=(5.2 * len(measures), 4.2), layout="constrained")
    axes = figure.subplots(1, len(measures), squeeze=False)[0]
    return figure, dict(zip(measures, axes, strict=True))


def _label_sizes(axis: Axes, curves: Any) -> None:
    sizes = sorted({size for curve in curves for size in curve["sizes"]})
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
    axis.set_xticks([], minor=True)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, panels: Mapping[str, Axes]) -> None:
    handles, labels = next(iter(panels.values())).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(panels), frameon=False)
