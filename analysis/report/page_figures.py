"""Figures of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..statistics import Interval
from .blocks import fixed, spoken
from .drawing import COLORS, WIDTH, page_style

_DASHES = ("-", "--", ":", "-.")
_LABEL = 32  # letters of a label on an axis
_HELPS, _HURTS = COLORS[0], COLORS[1]


@page_style
def over_time(history: Mapping[int, Mapping[str, float]], quantity: str) -> Figure:
    """Draw the learned number of every op over training: step -> op -> number, the same ops at each step."""
    ops = list(next(iter(history.values())))
    figure = Figure(figsize=(WIDTH, 2.6 + 0.2 * -(-len(ops) // 3)), layout="constrained")
    axis = figure.subplots()
    for place, op in enumerate(ops):
        style = _DASHES[place // len(COLORS) % len(_DASHES)]
        axis.plot(list(history), [values[op] for values in history.values()], style, label=spoken(op))
    axis.set(xlabel="training step", ylabel=quantity)
    axis.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, handlelength=1.6, columnspacing=1.2)
    return figure


@page_style
def intervals(rows: Mapping[str, Interval], quantity: str) -> Figure:
    """Draw one number a row with its interval."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.32 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for place, found in enumerate(rows.values()):
        if found.low is not None and found.high is not None:
            axis.plot([found.low, found.high], [place, place], color=COLORS[0], linewidth=2, solid_capstyle="butt")
        axis.plot([found.value], [place], "o", color=COLORS[0], markersize=5)
        axis.annotate(f"{found.value:.1f}", (found.value, place), (0, 5), textcoords="offset points", ha="center")
    axis.set(yticks=range(len(rows)), yticklabels=map(_short, rows), xlabel=quantity, ylim=(len(rows) - 0.5, -0.7))
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.margins(x=0.08)
    return figure


@page_style
def histogram(values: Sequence[float], quantity: str) -> Figure:
    """Draw a histogram on both sides of zero; the outer half percent on each side is in the last bars."""
    shown = np.asarray(values, dtype=float)
    low, high = np.quantile(shown, [0.005, 0.995])
    if not high > low:
        low, high = low - 0.5, high + 0.5
    width = (high - low) / 40
    first, last = np.floor(low / width), np.ceil(high / width)
    edges = width * np.arange(first, last + 1)  # zero is an edge
    counts, _ = np.histogram(shown.clip(edges[0], edges[-1]), edges)
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    axis = figure.subplots()
    colors = [_HURTS if edge >= -width / 2 else _HELPS for edge in edges[:-1]]
    axis.bar(edges[:-1], counts, width, align="edge", color=colors)
    axis.set(xlabel=quantity, ylabel="training images", yscale="symlog")
    axis.set_yticks([0, 1, 10, 100, 1000, 10000][: 2 + len(str(max(counts.max(), 1)))])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure


@page_style
def heat_map(values: np.ndarray, bold: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Draw numbers `[R, C]` as colors, negative ones violet; those in `bold` (the same shape) in bold."""
    names = [_short(name) for name in columns]
    longest = max(map(len, names))
    figure = Figure(figsize=(WIDTH, 0.7 + 0.27 * len(rows) + 0.04 * longest), layout="constrained")
    axis = figure.subplots()
    largest = float(np.nanmax(np.abs(values))) or 1.0
    # the outer half of the colors is too dark for black numbers
    axis.pcolormesh(values, cmap="PuOr_r", vmin=-2.2 * largest, vmax=2.2 * largest, edgecolors="none")
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        text, weight = fixed(value, 2) if abs(value) >= 0.005 else "0", "bold" if bold[row, column] else "normal"
        axis.text(column + 0.5, row + 0.52, text, ha="center", va="center", size=6, color="#111111", weight=weight)
    axis.set(xticks=np.arange(len(columns)) + 0.5, yticks=np.arange(len(rows)) + 0.5)
    axis.set_xticklabels(names, rotation=45 if longest > 3 else 0, ha="right" if longest > 3 else "center")
    axis.set_yticklabels([spoken(name) for name in rows])
    axis.tick_params(length=0)
    axis.invert_yaxis()
    axis.spines[:].set_visible(False)
    return figure


def _short(name: str) -> str:
    """Return a name without its middle if it is too long for a label."""
    half = _LABEL // 2
    return name if len(name) <= _LABEL else f"{name[:half]}…{name[-half:]}"
