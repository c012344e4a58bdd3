"""Test accuracies of runs and what they were compared with, and how sure they are.

One seed: the interval of Wilson (1927) for a share of n test images. It says how much other test images would change
the number, and nothing of other seeds. Several seeds: mean and t-interval; differences are paired by seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

from ..statistics import CONFIDENCE, Interval, paired_difference


@dataclass(frozen=True)
class Summary:
    """`summary.json` of a run.

    Attributes:
        seed: Of the run.
        own: The name of the run's own arm.
        accuracies: Test accuracy of each arm, in [0, 1].
        seconds: Training time of each arm.
    """

    seed: int
    own: str
    accuracies: Mapping[str, float]
    seconds: Mapping[str, float]


def read_summary(folder: Path) -> Summary | None:
    """Read what `train.py fit` wrote at its end; None if there is nothing yet.

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
        if not accuracies or not all(0 <= value <= 1 for value in accuracies.values()):
            raise ValueError("no accuracies in [0, 1]")
        return Summary(int(content.get("seed") or 0), next(iter(accuracies)), accuracies, seconds)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no summary of a run ({type(error).__name__}: {error}): restore it, or move it away to have "
            "the page without it."
        ) from error


def wilson(accuracy: float, count: int) -> Interval:
    """Interval of a share from `count` images.

    Args:
        accuracy: In [0, 1].
        count: Test images, >= 1.

    Example:
        >>> [round(bound, 3) for bound in wilson(0.9, 100)]
        [0.9, 0.826, 0.945]
    """
    found = stats.binomtest(round(accuracy * count), count).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(accuracy, float(found.low), float(found.high))


class Arm(NamedTuple):
    """What was trained: the policy or control, and what tells its configuration from others (empty if all are one)."""

    name: str
    setting: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.setting})" if self.setting else self.name


@dataclass(frozen=True)
class Arms:
    """All arms of all runs.

    Attributes:
        by_seed: Arm -> seed -> test accuracy; the runs' own arms first.
        own: The runs' own arms.
    """

    by_seed: Mapping[Arm, Mapping[int, float]]
    own: tuple[Arm, ...]

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len({seed for accuracies in self.by_seed.values() for seed in accuracies})

    def difference(self, arm: Arm, reference: str = "plain") -> tuple[Interval, int] | None:
        """Mean difference to an arm of the same setting over the seeds that both have, and how many; None if none."""
        first, second = self.by_seed[arm], self.by_seed.get(Arm(reference, arm.setting), {})
        found = paired_difference(first, second)
        return (found, len(set(first) & set(second))) if found and arm.name != reference else None


def gather(summaries: Sequence[tuple[Summary, str]]) -> Arms:
    """Put the arms of several runs together.

    Args:
        summaries: Of each run, with what tells its configuration apart from that of others; empty if all are the same.

    Raises:
        ValueError: If an arm comes twice with the same seed.
    """
    arms: dict[Arm, dict[int, float]] = {}
    own: dict[Arm, None] = {}
    for summary, setting in summaries:
        own[Arm(summary.own, setting)] = None
        for name, accuracy in summary.accuracies.items():
            arm = Arm(name, setting)
            if summary.seed in arms.setdefault(arm, {}):
                raise ValueError(
                    f"two runs have the arm {arm} with seed {summary.seed}: a mean over seeds counts each once. Leave "
                    "one out, or train with another --seed_everything."
                )
            arms[arm][summary.seed] = accuracy
    return Arms({arm: arms[arm] for arm in [*own, *(arm for arm in arms if arm not in own)]}, tuple(own))
