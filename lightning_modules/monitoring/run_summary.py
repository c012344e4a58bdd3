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
    """

    name: str
    test_accuracy: float
    seconds: float
    ranges: dict[str, dict[str, Any]]
    folder: Path
    validation_accuracy: float | None = None


def write_summary(path: Path, run: str, seed: int, arms: Sequence[ArmResult]) -> None:
    """Write the summary of a run as JSON; the run itself is the first arm, its controls follow."""
    validated = {arm.name: arm.validation_accuracy for arm in arms}
    best = preferred(arms)
    content = {
        "run": run,
        "seed": seed,
        "test_accuracy": {arm.name: round(arm.test_accuracy, 6) for arm in arms},
        "validation_accuracy": {name: None if value is None else round(value, 6) for name, value in validated.items()},
        "preferred": None if best is None else best.name,
        "ranges": arms[0].ranges,
        "seconds": round(sum(arm.seconds for arm in arms), 2),
        "seconds_by_arm": {arm.name: round(arm.seconds, 2) for arm in arms},
    }
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def preferred(arms: Sequence[ArmResult]) -> ArmResult | None:
    """Return the arm with the best validation accuracy; `plain` wins a tie, and test accuracies have no effect.

    Controls with a corrupted influence are left out. Without two arms, or if one was not validated, it is None.
    """
    usable = [arm for arm in arms if arm.name in _CANDIDATES]
    if len(usable) < 2 or any(arm.validation_accuracy is None for arm in usable):
        return None
    return max(usable, key=lambda arm: (arm.validation_accuracy, arm.name == "plain"))


def print_summary(folder: Path, arms: Sequence[ArmResult]) -> None:
    """Print the table of arms, the run first, then the preferred one, the learned policy, and the files of the run."""
    table = Table(title="Accuracy")
    for column in ("arm", "validation", "test", "seconds"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for arm in sorted(arms, key=lambda arm: arm.test_accuracy):
        validation = "-" if arm.validation_accuracy is None else f"{100 * arm.validation_accuracy:.1f} %"
        table.add_row(arm.name, validation, f"{100 * arm.test_accuracy:.1f} %", f"{arm.seconds:.0f}")
    console = Console()
    console.print(table)
    best = preferred(arms)
    if best is not None:
        checkpoints = best.folder / "checkpoints"
        console.print(f"The validation images prefer {best.name}: {checkpoints}", soft_wrap=True, highlight=False)
    if arms[0].ranges:
        console.print(policy_table(arms[0].name, arms[0].ranges))
    print_files(folder)
