"""Learned ranges beside those that a task has planted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from analysis.statistics import Interval, over_seeds
from studies.engine import Results, Study
from studies.kinds.classifier.run import ClassifierRun
from studies.kinds.classifier.selection import Selections

Classes = Callable[[int], bool]
Policy = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Recovery:
    """The learned range of a planted op.

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


def recoveries(
    study: Study, selections: Selections, truth: Mapping[str, float], results: Results, task: str
) -> list[Recovery]:
    """Return the learned range of each learned arm and planted op of a task; arms without ranges are left out.

    Args:
        study: The study.
        selections: Rows beside the arms.
        truth: Op -> planted range.
        results: Of the study.
        task: Its name.
    """
    found = []
    for arm, runs in selections.rows(study, results, task).items():
        policies: list[Policy] = [run["policy"] for run in runs.values() if run["policy"]]
        ranges_only = all("half_width" in op for policy in policies for op in policy.values())  # a choice may mix kinds
        if selections.role(study, task, arm) == "fixed" or not policies or not ranges_only:
            continue
        other = sum(_largest_other(policy, truth) for policy in policies) / len(policies)
        for op, planted in truth.items():
            for name, expected, classes in _groups(op, planted, _spared(study, task)):
                ranges = over_seeds([_width(policy[op], classes) for policy in policies])
                found.append(Recovery(arm, name, expected, ranges, other))
    return found


def _spared(study: Study, task: str) -> Sequence[int]:
    run = cast(ClassifierRun, study.setting(task, next(iter(study.arms))))
    spared: Sequence[int] = run.options.get("except_classes", [])
    return spared


def _largest_other(policy: Policy, truth: Mapping[str, float]) -> float:
    return max((_width(facts) / float(facts["bound"]) for op, facts in policy.items() if op not in truth), default=0.0)


def _groups(op: str, planted: float, spared: Sequence[int]) -> list[tuple[str, float, Classes]]:
    """Return groups of classes: the name of the op in them, its planted range, and whether a class is one of them."""
    if not spared:
        return [(op, planted, lambda label: True)]
    names = ", ".join(map(str, spared))
    return [
        (f"{op}, all classes but {names}", planted, lambda label: label not in spared),
        (f"{op}, classes {names}", 0.0, lambda label: label in spared),
    ]


def _width(facts: Mapping[str, Any], wanted: Classes = lambda label: True) -> float:
    """Return the half-width of an op; where each class has its own, the mean over the classes that are wanted."""
    widths = facts.get("half_widths", [facts["half_width"]])
    chosen = widths if len(widths) == 1 else [width for label, width in enumerate(widths) if wanted(label)]
    return float(sum(chosen) / len(chosen))
