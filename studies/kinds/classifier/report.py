"""The page of a comparison of classifiers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from studies.engine import Page, Report, Results, Study
from studies.kinds.classifier.comparison import TaskTable, compare
from studies.kinds.classifier.comparison_tables import grid, recovery_grid, verdicts
from studies.kinds.classifier.picture import picture
from studies.kinds.classifier.recovery import Recovery, recoveries
from studies.kinds.classifier.run import ClassifierRun
from studies.kinds.classifier.selection import Selections


@dataclass(frozen=True)
class ClassifierReport(Report):
    """Every arm beside a rival and beside the best fixed arm of each task.

    Args:
        rival: The arm, fixed or tuned, that all others are compared with.
        tuned: See `Selections`.
        chosen: See `Selections`.
        truth: Task -> op -> range that the task has planted; all other ops should stay near the identity.
    """

    rival: str
    tuned: dict[str, list[str]] = field(default_factory=dict)
    chosen: dict[str, list[str]] = field(default_factory=dict)
    truth: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def selections(self) -> Selections:
        """Rows beside the arms."""
        return Selections(self.tuned, self.chosen)

    def check(self, study: Study) -> None:
        """Raise ValueError if an arm or a task is unknown."""
        self.selections.check(list(study.arms))
        if self.rival not in self.selections.names(list(study.arms)) or self.rival in self.chosen:
            raise ValueError(f"rival: there is no arm {self.rival!r}, or it is one of several that are tuned.")
        if unknown := sorted(set(self.truth) - set(study.tasks)):
            raise ValueError(f"truth: there is no task {unknown[0]!r}; known are {', '.join(study.tasks)}.")

    def page(self, study: Study, results: Results) -> Page:
        """Return verdicts, the table of each task with its ranges, and the picture."""
        training = cast(ClassifierRun, study.setting(next(iter(study.tasks)), next(iter(study.arms)))).training
        parts = [
            f"{training.describe()} Accuracies are means with intervals, set against {self.rival} and against the "
            "fixed arm with the highest mean of those with most seeds, which is chosen in hindsight. The test images "
            "are read once a run, as deployed and as they were. Fixed arms train on the influence images too. Seconds "
            "are the median of those of training on one thread, with other jobs beside it.",
            *(
                f"{name}: the best of {', '.join(arms)} by validation accuracy."
                for name, arms in self.selections.all.items()
            ),
        ]
        tables = self.tables(study, results)
        if len(tables) > 1:
            parts.append(verdicts(tables).markdown())
        for table in tables:
            parts.append(grid(table, self.rival).markdown())
            found = self.recoveries(study, results, table.task)
            parts += [recovery_grid(table.task, found).markdown()] if found else []
        return Page(parts, {"": picture(self.selections.names(list(study.arms)), tables)})

    def tables(self, study: Study, results: Results) -> list[TaskTable]:
        """Return the tables of all tasks that have results."""
        tasks = [task for task in study.tasks if any(cell.task == task for cell in results)]
        return [compare(study, self.selections, self.rival, results, task) for task in tasks]

    def recoveries(self, study: Study, results: Results, task: str) -> list[Recovery]:
        """Return the learned ranges of what a task has planted."""
        truth: Mapping[str, float] = self.truth.get(task, {})
        return recoveries(study, self.selections, truth, results, task)
