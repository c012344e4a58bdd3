"""Test accuracies of runs and of the arms they were compared with; differences are paired by seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..statistics import Interval, paired_difference


@dataclass(frozen=True)
class Summary:
    """The content of `summary.json` of a run: test accuracy in [0, 1] and training time of each arm.

    With several labels an image the accuracy is that of single decisions, and `precision` has the mean average
    precision in [0, 1]; otherwise that is empty.
    """

    seed: int
    own: str  # the arm of the run itself
    accuracies: Mapping[str, float]
    seconds: Mapping[str, float]
    precision: Mapping[str, float] = field(default_factory=dict)


def read_summary(folder: Path) -> Summary | None:
    """Read the summary that `train.py fit` wrote at its end; None if there is none yet.

    Raises:
        ValueError: If the file is damaged.
    """
    path = folder / "summary.json"
    if not path.is_file():
        return None
    try:
        content: Any = json.loads(path.read_text())
        accuracies = {str(arm): float(value) for arm, value in content["test_accuracy"].items()}
        seconds = {str(arm): float(value) for arm, value in content.get("seconds_by_arm", {}).items()}
        means = content.get("test_map", {}).items()
        precision = {str(arm): float(value) for arm, value in means if value is not None}
        if not accuracies or not all(0 <= value <= 1 for value in (*accuracies.values(), *precision.values())):
            raise ValueError("no accuracies in [0, 1]")
        return Summary(int(content.get("seed") or 0), next(iter(accuracies)), accuracies, seconds, precision)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no summary of a run ({type(error).__name__}: {error}): restore it, or move it away to have "
            "the page without it."
        ) from error


class ArmName(NamedTuple):
    """Name of a policy or control, and of its configuration if there are several (otherwise empty)."""

    name: str
    setting: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.setting})" if self.setting else self.name


@dataclass(frozen=True)
class ArmAccuracies:
    """Test accuracies of all arms of all runs, and training times where they are known."""

    by_seed: Mapping[ArmName, Mapping[int, float]]  # the arms of the runs themselves first
    own: tuple[ArmName, ...]  # the arms of the runs themselves
    seconds: Mapping[ArmName, Sequence[float]]

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len({seed for accuracies in self.by_seed.values() for seed in accuracies})

    def difference(self, arm: ArmName, reference: str = "plain") -> tuple[Interval, int] | None:
        """Return the mean difference to an arm of the same setting and the number of common seeds; None if none."""
        first, second = self.by_seed[arm], self.by_seed.get(ArmName(reference, arm.setting), {})
        found = paired_difference(first, second)
        return (found, len(set(first) & set(second))) if found and arm.name != reference else None


def gather(summaries: Sequence[tuple[Summary, str]]) -> ArmAccuracies:
    """Collect the arms of several runs from their summaries with the names of their configurations, see `ArmName`.

    Raises:
        ValueError: If an arm comes twice with the same seed.
    """
    own = dict.fromkeys(ArmName(summary.own, setting) for summary, setting in summaries)
    arms: dict[ArmName, dict[int, float]] = {arm: {} for arm in own}
    seconds: dict[ArmName, list[float]] = {}
    for summary, setting in summaries:
        for name, accuracy in summary.accuracies.items():
            arm = ArmName(name, setting)
            if summary.seed in arms.setdefault(arm, {}):
                raise ValueError(
                    f"two runs have the arm {arm} with seed {summary.seed}: a mean over seeds counts each once. Leave "
                    "one out, or train with another --seed_everything."
                )
            arms[arm][summary.seed] = accuracy
            if name in summary.seconds:
                seconds.setdefault(arm, []).append(summary.seconds[name])
    return ArmAccuracies(arms, tuple(own), seconds)
