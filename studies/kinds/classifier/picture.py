"""Picture of a comparison: test accuracy of every arm on every task."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.kinds.classifier.comparison import Row, TaskTable

_COLORS = {"fixed": "#767b83", "learned": "#2f7fc1", "control": "#c2600f"}
_WIDTH = 3.4  # inches of one task
_ENOUGH = 3  # seeds for an interval


def picture(names: Sequence[str], tables: Sequence[TaskTable]) -> Figure:
    """Return a dot for each seed, the mean, and from three seeds on its interval.

    Args:
        names: All rows that there may be, in their order.
        tables: One panel each.
    """
    names = [arm for arm in names if any(row.arm == arm for table in tables for row in table.rows)]
    columns = min(len(tables), 4) or 1
    lines = -(-len(tables) // columns) or 1
    figure = Figure(figsize=(1.6 + _WIDTH * columns, (1 + 0.27 * len(names)) * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axis in axes.flat[len(tables) :]:
        axis.set_visible(False)
    for axis, table in zip(axes.flat, tables, strict=False):
        for row in table.rows:
            _draw(axis, row, names.index(row.arm))
        axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), title=table.task)
        axis.set_xlabel("test accuracy, %")
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _draw(axis: Axes, row: Row, height: int) -> None:
    color = _COLORS[row.role]
    if len(row.by_seed) >= _ENOUGH and row.test.low is not None and row.test.high is not None:
        axis.plot([max(row.test.low, 0), min(row.test.high, 100)], [height, height], color=color, linewidth=2)
    axis.plot(row.by_seed, [height] * len(row.by_seed), ".", color=color, alpha=0.5, markersize=5)
    axis.plot([row.test.value], [height], "|", color=color, markersize=11, markeredgewidth=2)
