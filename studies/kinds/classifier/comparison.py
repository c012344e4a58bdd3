"""Comparison of arms on a task: means over the seeds, and differences paired by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from analysis.statistics import Interval, over_seeds, paired_difference
from studies.engine import Result, Results, Study
from studies.kinds.classifier.run import Role
from studies.kinds.classifier.selection import Selections

Runs = Mapping[int, Result]  # by seed


@dataclass(frozen=True)
class Row:
    """One arm on one task.

    Attributes:
        arm: Its name.
        role: `fixed`, `learned` or `control`.
        by_seed: Test accuracy of each seed, in %.
        test: Its mean and interval.
        clean: Of the test images before the task changed them; None where it left them.
        against: Test accuracy minus that of the best fixed arm, in points, paired by seed; None for that arm itself.
        against_rival: The same against the rival of the study.
        training: Accuracy of the training images as they are, in %.
        train_loss: On augmented images, in the last epoch; None if it diverged.
        seconds: Of training, the median over the seeds.
    """

    arm: str
    role: Role
    by_seed: Sequence[float]
    test: Interval
    clean: Interval | None
    against: Interval | None
    against_rival: Interval | None
    training: float
    train_loss: float | None
    seconds: float


@dataclass(frozen=True)
class TaskTable:
    """All arms on one task.

    Attributes:
        task: Its name.
        best_fixed: The fixed arm with the highest mean of those with most seeds: it is chosen in hindsight, which
            favors it.
        rows: In the order of the study.
    """

    task: str
    best_fixed: str | None
    rows: list[Row]


def compare(study: Study, selections: Selections, rival: str, results: Results, task: str) -> TaskTable:
    """Return the comparison of all arms that have results on a task.

    Args:
        study: The study.
        selections: Rows beside the arms.
        rival: Row that all others are compared with, beside the best fixed one.
        results: Of the study.
        task: Its name.
    """
    found = selections.rows(study, results, task)
    roles = {arm: selections.role(study, task, arm) for arm in found}
    fixed = {arm: runs for arm, runs in found.items() if roles[arm] == "fixed"}
    most = max((len(runs) for runs in fixed.values()), default=0)
    means = {arm: over_seeds(_values(runs, "test")).value for arm, runs in fixed.items() if len(runs) == most}
    best = max(means, key=means.__getitem__) if means else None
    rivals = found.get(str(best)), found.get(rival)
    return TaskTable(task, best, [_row(arm, roles[arm], runs, *rivals) for arm, runs in found.items()])


def paired(one: Runs, other: Runs) -> Interval | None:
    """Return test accuracy of one arm minus another's over the seeds that both have, in points; None without such."""
    ours, theirs = ({seed: run["test"] for seed, run in runs.items()} for runs in (one, other))
    found = paired_difference(ours, theirs)
    return None if found is None else found.times(100)


def _row(arm: str, role: Role, runs: Runs, best: Runs | None, rival: Runs | None) -> Row:
    losses = _values(runs, "train_loss")
    clean = _values(runs, "clean") if all(run["clean"] is not None for run in runs.values()) else None
    return Row(
        arm=arm,
        role=role,
        by_seed=[100 * value for value in _values(runs, "test")],
        test=_percent(_values(runs, "test")),
        clean=None if clean is None else _percent(clean),
        against=None if best is None or best is runs else paired(runs, best),
        against_rival=None if rival is None or rival is runs else paired(runs, rival),
        training=100 * over_seeds(_values(runs, "training")).value,
        train_loss=None if None in losses else over_seeds(losses).value,
        seconds=median(_values(runs, "seconds")),
    )


def _values(runs: Runs, name: str) -> list[Any]:
    return [run[name] for run in runs.values()]


def _percent(values: list[float]) -> Interval:
    return over_seeds([100 * value for value in values])
