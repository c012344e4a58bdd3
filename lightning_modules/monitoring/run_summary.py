"""Results of a run and of its controls: `summary.json`, and the table on the terminal."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from augnet.atomic_file import write_atomically
from lightning_modules.monitoring.policy_table import policy_table
from lightning_modules.monitoring.run_files import print_files

_CANDIDATES = ("learned", "plain", "uniform")


@dataclass(frozen=True)
class ArmResult:
    """Results of a trained classifier.

    Attributes:
        name: `learned`, or the control.
        test_accuracy: On the test split, in [0, 1].
        seconds: Training time.
        ranges: The policy, as of `AugNet.describe()`; empty without a policy.
        folder: Folder of its files.
        validation_accuracy: At the last validation, in [0, 1]; None if there was none.
        test_map: Mean average precision on the test split, in [0, 1]; None where an image has one label.
        validation_map: The same at the last validation.
    """

    name: str
    test_accuracy: float
    seconds: float
    ranges: dict[str, dict[str, Any]]
    folder: Path
    validation_accuracy: float | None = None
    test_map: float | None = None
    validation_map: float | None = None

    @property
    def validated(self) -> float | None:
        """What arms are preferred by: mean average precision with several labels an image, otherwise accuracy."""
        return self.validation_accuracy if self.test_map is None else self.validation_map


def write_summary(path: Path, run: str, seed: int, arms: Sequence[ArmResult]) -> None:
    """Write the summary of a run as JSON; the run itself is the first arm, its controls follow."""
    best = preferred(arms)
    content = {
        "run": run,
        "seed": seed,
        "test_accuracy": {arm.name: round(arm.test_accuracy, 6) for arm in arms},
        "validation_accuracy": {arm.name: _rounded(arm.validation_accuracy) for arm in arms},
        "preferred": None if best is None else best.name,
        "ranges": arms[0].ranges,
        "seconds": round(sum(arm.seconds for arm in arms), 2),
        "seconds_by_arm": {arm.name: round(arm.seconds, 2) for arm in arms},
    }
    if any(arm.test_map is not None for arm in arms):
        content["test_map"] = {arm.name: _rounded(arm.test_map) for arm in arms}
        content["validation_map"] = {arm.name: _rounded(arm.validation_map) for arm in arms}
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def preferred(arms: Sequence[ArmResult]) -> ArmResult | None:
    """Return the arm that was best in validation; `plain` wins a tie, and test accuracies have no effect.

    Controls with a corrupted influence are left out. Without two arms, or if one was not validated, it is None.
    """
    usable = [arm for arm in arms if arm.name in _CANDIDATES]
    if len(usable) < 2 or any(arm.validated is None for arm in usable):
        return None
    return max(usable, key=lambda arm: (arm.validated, arm.name == "plain"))


def print_summary(folder: Path, arms: Sequence[ArmResult]) -> None:
    """Print the table of arms, the run first, then the preferred one, the learned policy, and the files of the run."""
    several = any(arm.test_map is not None for arm in arms)
    table = Table(title="Accuracy of single decisions, and mean average precision" if several else "Accuracy")
    means = ("validation mAP", "test mAP") if several else ()
    for column in ("arm", "validation", "test", *means, "seconds"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for arm in sorted(arms, key=lambda arm: arm.test_accuracy if arm.test_map is None else arm.test_map):
        values = [arm.validation_accuracy, arm.test_accuracy, *([arm.validation_map, arm.test_map] if several else [])]
        table.add_row(arm.name, *map(_percent, values), f"{arm.seconds:.0f}")
    console = Console()
    console.print(table)
    best = preferred(arms)
    if best is not None:
        checkpoints = best.folder / "checkpoints"
        console.print(f"The validation images prefer {best.name}: {checkpoints}", soft_wrap=True, highlight=False)
    if arms[0].ranges:
        console.print(policy_table(arms[0].name, arms[0].ranges))
    print_files(folder)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
