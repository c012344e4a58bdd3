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
        rival: The arm, fixed or tuned, that all others are set against, beside the best fixed one.
        tuned: Name -> arms, of which it takes, for each task and seed, the one with the best validation accuracy; in
            tables it stands for them.
        chosen: The same, but beside its arms: what a user does who trains several, with and without a learned policy,
            and keeps the one that the validation images prefer. Its first arm says what kind it is.
    """

    question: str
    data: Data
    tasks: dict[str, Task]
    arms: dict[str, Arm]
    training: Training
    rival: str
    seeds: int = 5
    tuned: dict[str, list[str]] = field(default_factory=dict)
    chosen: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.tasks or not self.arms:
            raise ValueError("a study needs at least one task, one arm and one seed.")
        unknown = [arm for arms in self._selections.values() for arm in arms if arm not in self.arms]
        if unknown:
            raise ValueError(f"tuned, chosen: there is no arm {unknown[0]!r}; arms are {', '.join(self.arms)}.")
        variants = [arm for arms in self.tuned.values() for arm in arms]
        names = [*self.arms, *self.tuned, *self.chosen]
        if len(set(variants)) < len(variants) or not all(self._selections.values()) or len(set(names)) < len(names):
            raise ValueError(
                "tuned, chosen: give each a name of its own and at least one arm, and `tuned` no arm twice."
            )
        if self.rival not in {*self.arms, *self.tuned} - set(variants):
            raise ValueError(f"rival: there is no arm {self.rival!r}, or it is one of several that are tuned.")

    def settings(self, tasks: Sequence[str] = (), arms: Sequence[str] = ()) -> dict[Cell, Setting]:
        """The runs, one seed after the other, so that every task is soon seen whole with few seeds.

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

    @property
    def names(self) -> list[str]:
        """What tables show, in their order: the arms, a tuned one in place of its variants, and what is chosen."""
        tuned = {arm: name for name, arms in self.tuned.items() for arm in arms}
        return [*dict.fromkeys(tuned.get(arm, arm) for arm in self.arms), *self.chosen]

    @property
    def _selections(self) -> dict[str, list[str]]:
        return {**self.tuned, **self.chosen}

    def rows(self, results: Mapping[Cell, Result], task: str) -> dict[str, dict[int, Result]]:
        """Arm -> seed -> result, with tuned arms in the place of their variants; an arm without results is left out."""
        by_arm = {
            arm: {c.seed: run for c, run in results.items() if (c.task, c.arm) == (task, arm)} for arm in self.arms
        }
        found = {
            name: by_arm[name] if name in by_arm else _best([by_arm[arm] for arm in self._selections[name]])
            for name in self.names
        }
        return {name: runs for name, runs in found.items() if runs}

    def kind(self, arm: str) -> str:
        """`fixed`, `learned` or `control`, also of one that is tuned or chosen."""
        return self.arms[self._selections.get(arm, [arm])[0]].kind

    def _setting(self, task: str, arm: str, seed: int) -> Setting:
        return Setting(replace(self.tasks[task], truth={}), self.data, self.arms[arm], self.training, seed)


def _best(variants: Sequence[Mapping[int, Result]]) -> dict[int, Result]:
    """For each seed that all variants have the one with the best validation accuracy; its cost is that of them all."""
    shared = set.intersection(*(set(runs) for runs in variants))
    found = {}
    for seed in sorted(shared):
        options = [runs[seed] for runs in variants]
        chosen = max(options, key=lambda run: run["validation"])
        found[seed] = {**chosen, "seconds": sum(run["seconds"] for run in options)}
    return found


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
