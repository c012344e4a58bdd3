"""The rows of a comparison: arms, and selections that take the best of several arms by validation accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from studies.engine import Result, Results, Study, by_arm
from studies.kinds.classifier.run import ClassifierRun, Role


@dataclass(frozen=True)
class Selections:
    """Named selections among the arms of a study.

    Args:
        tuned: Name -> arms, of which it takes, for each task and seed, the one with the best validation accuracy; in
            tables it replaces them.
        chosen: The same, but shown beside its arms: a user trains several arms, with and without a learned policy, and
            keeps the one with the best validation accuracy. Its first arm gives its role.
    """

    tuned: Mapping[str, Sequence[str]]
    chosen: Mapping[str, Sequence[str]]

    @property
    def all(self) -> dict[str, Sequence[str]]:
        """All selections."""
        return {**self.tuned, **self.chosen}

    def check(self, arms: Sequence[str]) -> None:
        """Raise ValueError if an arm is unknown, a name is taken, or an arm is tuned twice."""
        unknown = [arm for members in self.all.values() for arm in members if arm not in arms]
        if unknown:
            raise ValueError(f"tuned, chosen: there is no arm {unknown[0]!r}; arms are {', '.join(arms)}.")
        variants = [arm for members in self.tuned.values() for arm in members]
        names = [*arms, *self.tuned, *self.chosen]
        if len(set(variants)) < len(variants) or not all(self.all.values()) or len(set(names)) < len(names):
            raise ValueError(
                "tuned, chosen: give each a name of its own and at least one arm, and `tuned` no arm twice."
            )

    def names(self, arms: Sequence[str]) -> list[str]:
        """Return the rows in their order: the arms, with a tuned one in place of its variants, and the chosen ones."""
        tuned = {arm: name for name, members in self.tuned.items() for arm in members}
        return [*dict.fromkeys(tuned.get(arm, arm) for arm in arms), *self.chosen]

    def rows(self, study: Study, results: Results, task: str) -> dict[str, dict[int, Result]]:
        """Return row -> seed -> result on a task; rows without results are left out."""
        found = by_arm(study, results, task)
        rows = {
            name: _best([found.get(arm, {}) for arm in self.all[name]]) if name in self.all else found.get(name, {})
            for name in self.names(list(study.arms))
        }
        return {name: runs for name, runs in rows.items() if runs}

    def role(self, study: Study, task: str, row: str) -> Role:
        """Return the role of an arm or a selection."""
        return cast(ClassifierRun, study.setting(task, self.all.get(row, [row])[0])).role


def _best(variants: Sequence[Mapping[int, Result]]) -> dict[int, Result]:
    """Return the variant with the best validation accuracy for each seed that all have; it costs as much as all."""
    shared = set.intersection(*(set(runs) for runs in variants))
    found = {}
    for seed in sorted(shared):
        options = [runs[seed] for runs in variants]
        chosen = max(options, key=lambda run: run["validation"])
        found[seed] = {**chosen, "seconds": sum(run["seconds"] for run in options)}
    return found
