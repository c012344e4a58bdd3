"""What a study says: means over the seeds, differences paired by seed, and what was found of what was planted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from analysis.statistics import Interval, over_seeds
from benchmarks.accuracy.study import Cell, Result, Study

Classes = Callable[[int], bool]


@dataclass(frozen=True)
class Row:
    """One arm on one task.

    Attributes:
        arm: Its name.
        kind: `fixed`, `learned` or `control`.
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
    kind: str
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
            favours it.
        rows: In the order of the study.
    """

    task: str
    best_fixed: str | None
    rows: list[Row]


def compare(study: Study, results: Mapping[Cell, Result], task: str) -> TaskTable:
    """Compare all arms that have results on a task."""
    found = study.rows(results, task)
    fixed = {arm: runs for arm, runs in found.items() if study.kind(arm) == "fixed"}
    most = max((len(runs) for runs in fixed.values()), default=0)
    means = {arm: over_seeds(_values(runs, "test")).value for arm, runs in fixed.items() if len(runs) == most}
    best = max(means, key=means.__getitem__) if means else None
    rivals = found.get(str(best)), found.get(study.rival)
    return TaskTable(task, best, [_row(study, arm, runs, *rivals) for arm, runs in found.items()])


def paired(one: Mapping[int, Result], other: Mapping[int, Result]) -> Interval | None:
    """Test accuracy of one arm minus another's over the seeds that both have, in points; None without such."""
    shared = sorted(set(one) & set(other))
    if not shared:
        return None
    return over_seeds([100 * (one[seed]["test"] - other[seed]["test"]) for seed in shared])


@dataclass(frozen=True)
class Recovery:
    """What an arm found of what was planted.

    Attributes:
        arm: Its name.
        op: The planted op.
        truth: Its range.
        found: The learned ranges, in the op's unit: their mean over the seeds, and their interval.
        largest_other: The largest other range, as a share of its bound: the mean over the seeds.
    """

    arm: str
    op: str
    truth: float
    found: Interval
    largest_other: float


def recoveries(study: Study, results: Mapping[Cell, Result], task: str) -> list[Recovery]:
    """For each learned arm and planted op of a task what was found; arms without ranges are left out."""
    truth = study.tasks[task].truth
    found = []
    for arm, runs in study.rows(results, task).items():
        policies = [run["policy"] for run in runs.values() if run["policy"]]
        ranges_only = all("half_width" in op for policy in policies for op in policy.values())  # a choice may mix kinds
        if study.kind(arm) == "fixed" or not policies or not ranges_only:
            continue
        others = [
            max((_share(facts) for op, facts in policy.items() if op not in truth), default=0.0) for policy in policies
        ]
        spared = study.tasks[task].options.get("except_classes", [])
        for op, planted in truth.items():
            for name, expected, classes in _groups(op, planted, spared):
                ranges = over_seeds([_width(policy[op], classes) for policy in policies])
                found.append(Recovery(arm, name, expected, ranges, sum(others) / len(others)))
    return found


def _groups(op: str, planted: float, spared: Sequence[int]) -> list[tuple[str, float, Classes]]:
    """What to look for: its name, its range, and in which classes."""
    if not spared:
        return [(op, planted, lambda label: True)]
    names = ", ".join(map(str, spared))
    return [
        (f"{op}, all classes but {names}", planted, lambda label: label not in spared),
        (f"{op}, classes {names}", 0.0, lambda label: label in spared),
    ]


def _row(
    study: Study,
    arm: str,
    runs: Mapping[int, Result],
    best: Mapping[int, Result] | None,
    rival: Mapping[int, Result] | None,
) -> Row:
    losses = _values(runs, "train_loss")
    clean = _values(runs, "clean") if all(run["clean"] is not None for run in runs.values()) else None
    return Row(
        arm=arm,
        kind=study.kind(arm),
        by_seed=[100 * value for value in _values(runs, "test")],
        test=_percent(_values(runs, "test")),
        clean=None if clean is None else _percent(clean),
        against=None if best is None or best is runs else paired(runs, best),
        against_rival=None if rival is None or rival is runs else paired(runs, rival),
        training=100 * over_seeds(_values(runs, "training")).value,
        train_loss=None if None in losses else over_seeds(losses).value,
        seconds=median(_values(runs, "seconds")),
    )


def _values(runs: Mapping[int, Result], name: str) -> list[float]:
    return [run[name] for run in runs.values()]


def _percent(values: list[float]) -> Interval:
    return over_seeds([100 * value for value in values])


def _width(facts: Mapping[str, Any], wanted: Classes = lambda label: True) -> float:
    """The half-width of an op; where each class has its own, the mean over the classes that are wanted."""
    widths = facts.get("half_widths", [facts["half_width"]])
    chosen = widths if len(widths) == 1 else [width for label, width in enumerate(widths) if wanted(label)]
    return float(sum(chosen) / len(chosen))


def _share(facts: Mapping[str, Any]) -> float:
    return _width(facts) / float(facts["bound"])
