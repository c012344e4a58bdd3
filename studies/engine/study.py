"""A study: its tasks, arms and seeds, and the runs that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from studies.engine.overlay import build, overlaid
from studies.engine.setting import Result, Setting

if TYPE_CHECKING:
    from studies.engine.report import Report


class Cell(NamedTuple):
    """One run of a study, by names."""

    task: str
    arm: str
    seed: int


Results = Mapping[Cell, Result]


class Kind(NamedTuple):
    """A kind of study: the class of its runs and the class of its page."""

    setting: type[Setting]
    report: type[Report]


@dataclass(frozen=True)
class Arm:
    """One of the things that are compared.

    Args:
        fields: Fields of the setting that it overlays.
        tasks: The tasks that it is trained on; all if None.
    """

    fields: Mapping[str, Any]
    tasks: Sequence[str] | None = None


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    Args:
        name: Of its files.
        question: In a sentence.
        kind: Classes of the runs and of the page.
        report: The page.
        tasks: Fields of the setting that each task overlays, by name.
        arms: By name.
        common: Fields of the setting that all runs have.
        seeds: Number of seeds, from 0.
        source: Content of the YAML file, for the results file.

    Raises:
        ValueError: If there is no task, arm or seed, a name is unknown, or the report does not fit.
    """

    name: str
    question: str
    kind: Kind
    report: Report
    tasks: Mapping[str, Mapping[str, Any]]
    arms: Mapping[str, Arm]
    common: Mapping[str, Any]
    seeds: int = 1
    source: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.tasks or not self.arms:
            raise ValueError(f"{self.name}: a study needs at least one task, one arm and one seed.")
        for arm in self.arms.values():
            _check("task", arm.tasks or (), self.tasks)
        self.report.check(self)

    def settings(self, tasks: Sequence[str] = (), arms: Sequence[str] = ()) -> dict[Cell, Setting]:
        """Return the runs, one seed after the other, so that every task is soon complete with few seeds.

        Args:
            tasks: Only these; all if empty.
            arms: Only these; all if empty.

        Raises:
            ValueError: If there is no task or arm of that name, or a field of a setting is wrong.
        """
        _check("task", tasks, self.tasks)
        _check("arm", arms, self.arms)
        cells = [
            (task, arm)
            for task in tasks or self.tasks
            for arm in arms or self.arms
            if task in (self.arms[arm].tasks or self.tasks)
        ]
        return {Cell(*names, seed): self.setting(*names, seed) for seed in range(self.seeds) for names in cells}

    def setting(self, task: str, arm: str, seed: int = 0) -> Setting:
        """Return the setting of one run.

        Raises:
            ValueError: If a field is wrong.
        """
        if (task, arm) not in self._built:
            fields = overlaid(self.common, self.tasks[task], self.arms[arm].fields, {"seed": 0})
            where = f"{self.name}, task {task!r}, arm {arm!r}"
            self._built[task, arm] = build(self.kind.setting, fields, where)
        return replace(self._built[task, arm], seed=seed)

    @cached_property
    def _built(self) -> dict[tuple[str, str], Setting]:
        return {}


def by_arm(study: Study, results: Results, task: str) -> dict[str, dict[int, Result]]:
    """Return arm -> seed -> result on a task, in the order of the study; arms without results are left out."""
    found = {arm: {c.seed: run for c, run in results.items() if (c.task, c.arm) == (task, arm)} for arm in study.arms}
    return {arm: runs for arm, runs in found.items() if runs}


def _check(what: str, names: Sequence[str], known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{what}s: there is no {what} {name!r}; known are {', '.join(known)}.")
