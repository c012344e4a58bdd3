"""Tables of a comparison."""

from collections.abc import Sequence

from analysis.text_table import TextTable
from studies.engine.interval_text import difference_text, interval_text
from studies.kinds.classifier.comparison import Row, TaskTable
from studies.kinds.classifier.recovery import Recovery


def grid(table: TaskTable, rival: str) -> TextTable:
    """Return one row for each arm; `rival` names the column of the differences to it."""
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
    name = f"**{row.arm}**" if row.role == "learned" else row.arm
    loss = "diverged" if row.train_loss is None else f"{row.train_loss:.3f}"
    numbers = [f"{row.training:.1f}", loss, f"{row.seconds:.0f}"]
    differences = [difference_text(row.against), difference_text(row.against_rival)]
    return [name, str(len(row.by_seed)), interval_text(row.test), *differences, *clean, *numbers]


def verdicts(tables: Sequence[TaskTable]) -> TextTable:
    """Return for each learned arm the number of tasks on which it is better or worse than the best fixed arm."""
    names = list(dict.fromkeys(row.arm for table in tables for row in table.rows if row.role == "learned"))
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
    """Return learned ranges beside planted ones."""
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
