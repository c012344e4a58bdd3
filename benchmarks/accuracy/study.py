"""A study as its YAML file says it: tasks x arms x seeds, and the runs that it needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from analysis.exchange_rate.setting import Training
from benchmarks.accuracy.settings import Arm, Data, Setting, Task

Result = dict[str, Any]


class Cell(NamedTuple):
    """One run of a study, by names."""

    task: str
    arm: str
    seed: int


@dataclass(frozen=True)
class Study:
    """What is compared.

    Args:
        question: What the study asks, in a sentence.
        data: The images.
        tasks: By name.
        arms: By name.
        training: How every arm is trained.
        seeds: Number of seeds, from 0; every arm has the same splits and draws of the task for one seed.
        tuned: Name -> arms, of which it takes, for each task and seed, the one with the best validation accuracy; in
            tables it stands for them.
    """

    question: str
    data: Data
    tasks: dict[str, Task]
    arms: dict[str, Arm]
    training: Training
    seeds: int = 5
    tuned: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.tasks or not self.arms:
            raise ValueError("a study needs at least one task, one arm and one seed.")
        unknown = [arm for arms in self.tuned.values() for arm in arms if arm not in self.arms]
        if unknown:
            raise ValueError(f"tuned: there is no arm {unknown[0]!r}; arms are {', '.join(self.arms)}.")

    def settings(self, tasks: Sequence[str] = (), arms: Sequence[str] = ()) -> dict[Cell, Setting]:
        """The runs: all seeds of the first task last, so that every task is soon seen whole with few seeds.

        Args:
            tasks: Only these; all if empty.
            arms: Only these; all if empty.

        Raises:
            ValueError: If there is no task or arm of that name.
        """
        _check("task", tasks, self.tasks)
        _check("arm", arms, self.arms)
        return {
            Cell(task, arm, seed): self._setting(task, arm, seed)
            for seed in range(self.seeds)
            for task in tasks or self.tasks
            for arm in arms or self.arms
        }

    def rows(self, results: Mapping[Cell, Result], task: str) -> dict[str, dict[int, Result]]:
        """Arm -> seed -> result, with tuned arms in the place of their variants; an arm without results is left out."""
        found: dict[str, dict[int, Result]] = {}
        for cell, result in results.items():
            if cell.task == task:
                found.setdefault(cell.arm, {})[cell.seed] = result
        for name, variants in self.tuned.items():
            options = [found.pop(variant, {}) for variant in variants]
            shared = set.intersection(*(set(option) for option in options))
            best = {seed: max((o[seed] for o in options), key=lambda run: run["validation"]) for seed in sorted(shared)}
            if best:
                found[name] = best
        return found

    def kind(self, arm: str) -> str:
        """`fixed`, `learned` or `control`, also of a tuned arm."""
        return self.arms[self.tuned[arm][0] if arm in self.tuned else arm].kind

    def _setting(self, task: str, arm: str, seed: int) -> Setting:
        return Setting(replace(self.tasks[task], truth={}), self.data, self.arms[arm], self.training, seed)


def _check(what: str, names: Sequence[str], known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{what}s: there is no {what} {name!r}; known are {', '.join(known)}.")


def of_study(study: Study, runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Setting, Result]]:
    """The runs of a results file that belong to the study as it is now, whatever they were called."""
    wanted = {setting.key: setting for setting in study.settings().values()}
    for run in runs:
        if run["key"] in wanted:
            yield wanted[run["key"]], dict(run["result"])
