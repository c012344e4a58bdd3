"""The tables of a study in Markdown, and its picture."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.statistics import Interval
from analysis.text_table import TextTable
from benchmarks.accuracy.comparison import Recovery, Row, TaskTable, compare, recoveries
from benchmarks.accuracy.study import Cell, Result, Study

_COLOURS = {"fixed": "#767b83", "learned": "#2f7fc1", "control": "#c2600f"}
_WIDTH = 3.4  # inches of one task
_ENOUGH = 3  # seeds for an interval in the picture


def page(study: Study, results: Mapping[Cell, Result], command: str) -> str:
    """Everything that is known so far.

    Args:
        study: What was asked.
        results: What has been run.
        command: What makes it.
    """
    training = study.training
    made = dict.fromkeys(", ".join(f"{k} {v}" for k, v in run["versions"].items()) for run in results.values())
    model = " ".join([training.model.rpartition(".")[2], *(f"{k} {v}" for k, v in training.model_kwargs.items())])
    wanted = len(study.settings())
    selections = [*study.tuned.items(), *study.chosen.items()]
    parts = [
        f"# {study.question}",
        f"`{command}`. Made with {'; and with '.join(made)}.",
        f"{model}, {training.steps:,} steps of {training.batch_size} for every classifier, SGD, one cycle to "
        f"{training.lr:g}, {training.precision}. {len(results)} of {wanted} runs. Mean and 95 % interval (Student's t) "
        f"over the seeds; differences are paired by seed, and set against {study.rival} and against the fixed arm with "
        "the highest mean of those with most seeds, which is chosen in hindsight. The test images are read once a run, "
        "as deployed and as they were. Fixed arms train on the influence images too. Seconds are the median of "
        "those of training on one thread, with other jobs beside it.",
        *(f"{name}: the best of {', '.join(arms)} by validation accuracy." for name, arms in selections),
    ]
    tables = tables_of(study, results)
    if len(tables) > 1:
        parts.append(verdicts(tables).markdown())
    for table in tables:
        parts.append(grid(table, study.rival).markdown())
        found = recoveries(study, results, table.task)
        parts += [recovery_grid(table.task, found).markdown()] if found else []
    return "\n\n".join(parts) + "\n"


def tables_of(study: Study, results: Mapping[Cell, Result]) -> list[TaskTable]:
    """The tables of all tasks that have results."""
    return [compare(study, results, task) for task in study.tasks if any(cell.task == task for cell in results)]


def grid(table: TaskTable, rival: str) -> TextTable:
    """One row an arm; `rival` is the name of the study's."""
    header = [
        "arm",
        "seeds",
        "test, %",
        "minus best fixed",
        f"minus {rival}",
        "before the shift, %",
        "training images, %",
        "loss",
        "s",
    ]
    if all(row.clean is None for row in table.rows):
        header.remove("before the shift, %")
    return TextTable(table.task, header, [_cells(row, header) for row in table.rows])


def _cells(row: Row, header: Sequence[str]) -> list[str]:
    clean = [interval_text(row.clean)] if "before the shift, %" in header else []
    name = f"**{row.arm}**" if row.kind == "learned" else row.arm
    loss = "diverged" if row.train_loss is None else f"{row.train_loss:.3f}"
    numbers = [f"{row.training:.1f}", loss, f"{row.seconds:.0f}"]
    differences = [difference_text(row.against), difference_text(row.against_rival)]
    return [name, str(len(row.by_seed)), interval_text(row.test), *differences, *clean, *numbers]


def verdicts(tables: Sequence[TaskTable]) -> TextTable:
    """For each learned arm on how many tasks it is better than the best fixed arm, worse, or neither can be said."""
    names = list(dict.fromkeys(row.arm for table in tables for row in table.rows if row.kind == "learned"))
    rows = []
    for name in names:
        found = [row.against for table in tables for row in table.rows if row.arm == name and row.against]
        above = sum(one.low is not None and one.low > 0 for one in found)
        below = sum(one.high is not None and one.high < 0 for one in found)
        mean = sum(one.value for one in found) / len(found) if found else float("nan")
        rows.append([name, str(len(found)), str(above), str(below), str(len(found) - above - below), f"{mean:+.1f}"])
    header = ["learned arm", "tasks", "interval above 0", "below 0", "neither", "mean difference"]
    return TextTable("Against the best fixed arm of each task", header, rows)


def recovery_grid(task: str, found: Sequence[Recovery]) -> TextTable:
    """What was found of what was planted."""
    header = ["arm", "planted", "truth", "found", "off by", "largest other, % of bound"]
    rows = [
        [
            one.arm,
            one.op,
            f"{one.truth:g}",
            interval_text(one.found, 2),
            f"{100 * (one.found.value / one.truth - 1):+.0f} %" if one.truth else f"{one.found.value:+.2f}",
            f"{100 * one.largest_other:.0f}",
        ]
        for one in found
    ]
    return TextTable(f"{task}: learned ranges", header, rows)


def picture(study: Study, results: Mapping[Cell, Result]) -> Figure:
    """Test accuracy of every arm on every task: a dot for each seed, the mean, and from three seeds on its interval."""
    tables = tables_of(study, results)
    names = [arm for arm in study.names if any(row.arm == arm for table in tables for row in table.rows)]
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
    colour = _COLOURS[row.kind]
    if len(row.by_seed) >= _ENOUGH and row.test.low is not None and row.test.high is not None:
        axis.plot([max(row.test.low, 0), min(row.test.high, 100)], [height, height], color=colour, linewidth=2)
    axis.plot(row.by_seed, [height] * len(row.by_seed), ".", color=colour, alpha=0.5, markersize=5)
    axis.plot([row.test.value], [height], "|", color=colour, markersize=11, markeredgewidth=2)


def interval_text(found: Interval | None, digits: int = 1) -> str:
    """Mean and half the interval, where there is one."""
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ± {(found.high - found.low) / 2:.{digits}f}"


def difference_text(found: Interval | None) -> str:
    """Mean and interval with their signs."""
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:+.1f}"
    return f"{found.value:+.1f} ({found.low:+.1f} to {found.high:+.1f})"
