"""The page of a study as tables: one for each task, with a row for each arm and a column for each number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.statistics import over_seeds, paired_difference
from analysis.text_table import TextTable
from studies.engine.interval_text import difference_text, interval_text
from studies.engine.report import Page, Report
from studies.engine.setting import Result
from studies.engine.study import Results, Study, by_arm


@dataclass(frozen=True)
class Column:
    """A number of a result.

    Args:
        path: Its place in the result, names joined by dots.
        scale: It is multiplied by this.
        digits: Behind the decimal point.
        difference: Show the difference to the reference, paired by seed, instead of the number.
    """

    path: str
    scale: float = 1.0
    digits: int = 1
    difference: bool = False


@dataclass(frozen=True)
class TableReport(Report):
    """Means over the seeds with their intervals.

    Args:
        columns: By title.
        reference: Arm that differences are taken to.
        note: A paragraph above the tables.
    """

    columns: dict[str, Column]
    reference: str | None = None
    note: str = ""

    def check(self, study: Study) -> None:
        """Raise ValueError if the reference is no arm, or a column needs one."""
        if self.reference is None and any(column.difference for column in self.columns.values()):
            raise ValueError("report.reference: a column of differences needs an arm to take them to.")
        if self.reference is not None and self.reference not in study.arms:
            raise ValueError(f"report.reference: there is no arm {self.reference!r}; arms are {', '.join(study.arms)}.")

    def page(self, study: Study, results: Results) -> Page:
        """Return the note and the tables of all tasks that have results."""
        tables = [self.table(study, results, task) for task in study.tasks if any(c.task == task for c in results)]
        return Page([*([self.note.strip()] if self.note else []), *(table.markdown() for table in tables)])

    def table(self, study: Study, results: Results, task: str) -> TextTable:
        """Return the table of a task; `-` stands for a number that an arm does not have."""
        arms = by_arm(study, results, task)
        reference = arms.get(self.reference or "", {})
        rows = [
            [arm, str(len(runs)), *(_cell(column, runs, reference) for column in self.columns.values())]
            for arm, runs in arms.items()
        ]
        title = task if len(study.tasks) > 1 else "Means over the seeds"
        return TextTable(title, ["arm", "seeds", *self.columns], rows)


def _cell(column: Column, runs: Mapping[int, Result], reference: Mapping[int, Result]) -> str:
    ours = _values(column, runs)
    if not column.difference:
        return interval_text(over_seeds(list(ours.values())) if ours else None, column.digits)
    own = runs is reference
    return difference_text(None if own else paired_difference(ours, _values(column, reference)), column.digits)


def _values(column: Column, runs: Mapping[int, Result]) -> dict[int, float]:
    """Return seed -> number, without the seeds that do not have it."""
    found = {seed: _number(run, column.path) for seed, run in runs.items()}
    return {seed: column.scale * value for seed, value in found.items() if value is not None}


def _number(result: Result, path: str) -> float | None:
    value: Any = result
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if value is None else float(value)
