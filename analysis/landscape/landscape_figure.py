"""The figure of a loss landscape."""

import math

from matplotlib.figure import Figure

from .flatness import Walk


def plot_walks(walks: list[Walk], threshold: float) -> Figure:
    """Draw the loss along each direction up to the threshold.

    Args:
        walks: From `random_walks`.
        threshold: The loss at which the walks end.
    """
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
