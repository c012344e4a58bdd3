"""What a run leaves behind: `summary.json` and the table at the end."""

import csv
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from augnet.atomic_file import write_atomically

_USABLE = ("learned", "plain", "uniform")


@dataclass(frozen=True)
class ArmResult:
    """One trained classifier.

    Attributes:
        name: "learned", or the control.
        test_accuracy: On the test split, in [0, 1].
        seconds: Training time.
        ranges: What was learned, `AugNet.describe()`; empty without a policy.
        folder: Of the arm's files.
        validation_accuracy: At the last validation, in [0, 1]; None if there was none.
    """

    name: str
    test_accuracy: float
    seconds: float
    ranges: dict[str, dict[str, Any]]
    folder: Path
    validation_accuracy: float | None = None


def next_free_folder(wanted: Path) -> Path:
    """Make `wanted`, or `wanted-2`, `wanted-3`, ... if it exists, and return it."""
    number = 1
    while True:
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def write_summary(path: Path, run: str, seed: int, arms: Sequence[ArmResult]) -> None:
    """Write the summary of a run.

    Args:
        path: The JSON file.
        run: Name of the run.
        seed: Its seed.
        arms: The run itself first, then what it was compared with.
    """
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
    """The arm with the best validation accuracy; the test images have no say, and `plain` wins a tie.

    Controls that spoil the influence are not there to be used, and not looked at.

    Args:
        arms: The run itself first, then what it was compared with.

    Returns:
        None if there is nothing to choose between: fewer than two arms, or one without a validation.
    """
    usable = [arm for arm in arms if arm.name in _USABLE]
    if len(usable) < 2 or any(arm.validation_accuracy is None for arm in usable):
        return None
    return max(usable, key=lambda arm: (arm.validation_accuracy, arm.name == "plain"))


def write_predictions(path: Path, probabilities: Tensor, class_names: Sequence[str]) -> None:
    """Write one row an image, in the order of the split: its number, the predicted class, all probabilities.

    Args:
        path: The CSV file.
        probabilities: `[N, K]`.
        class_names: Names of the K classes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "predicted", *class_names])
    for number, row in enumerate(probabilities.tolist()):
        best = max(range(len(row)), key=row.__getitem__)
        writer.writerow([number, class_names[best], *(f"{value:.6f}" for value in row)])
    write_atomically(path, text.getvalue())


def print_summary(folder: Path, arms: Sequence[ArmResult]) -> None:
    """Print the table of arms, which of them to keep, the learned ranges, and where the files are."""
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
        where = best.folder / "checkpoints"
        console.print(f"The validation images prefer {best.name}: {where}", soft_wrap=True, highlight=False)
    if arms[0].ranges:
        console.print(policy_table(arms[0]))
    print_files(folder)


def print_files(folder: Path) -> None:
    """Print where the files of a run are, and how to look into them without an account."""
    console = Console()
    console.print(f"Files of this run: {folder}", soft_wrap=True, markup=False, highlight=False)
    for what, where in ways_to_look(folder).items():
        console.print(f"  {what}: {where}", soft_wrap=True, markup=False, highlight=False)


def ways_to_look(folder: Path) -> dict[str, str]:
    """What there is to look at in the folder of a run, and the file or the command that shows it."""
    found = {
        what: str(folder / name)
        for what, name in (("metrics", "metrics.csv"), ("learned policy", "policy.json"))
        if (folder / name).exists()
    }
    offline = sorted(folder.glob("wandb/offline-run-*"))
    if offline:
        every_arm = [shlex.quote(str(path)) for path in sorted(folder.glob("**/wandb/offline-run-*"))]
        found["in the terminal"] = f"wandb beta leet {shlex.quote(str(offline[-1]))}"
        found["upload to W&B"] = f"wandb sync {' '.join(every_arm)}"
    if (folder / "tensorboard").exists():
        found["in the browser"] = f"tensorboard --logdir {shlex.quote(str(folder))}"
    return found


def policy_table(arm: ArmResult) -> Table:
    """What an arm learned, in the form that suits its policy."""
    facts = next(iter(arm.ranges.values()))
    table = mixture_table if "probability" in facts else ranges_table if "half_width" in facts else facts_table
    return table(arm)


def ranges_table(arm: ArmResult) -> Table:
    """The ranges of an arm in physical units."""
    table = Table(title=f"Ranges ({arm.name})")
    for column in ("op", "range", "of its bound", "unit"):
        table.add_column(column, justify="left" if column in ("op", "unit") else "right")
    for op, facts in arm.ranges.items():
        half_width, bound = float(facts["half_width"]), float(facts["bound"])
        ends = f"{facts['lowest']:.3g} to {facts['highest']:.3g}" if "lowest" in facts else f"+-{half_width:.3g}"
        table.add_row(op, ends, f"{100 * half_width / bound:.0f} %", str(facts["unit"]))
    return table


def facts_table(arm: ArmResult) -> Table:
    """What the fields of an arm do."""
    table = Table(title=f"Fields ({arm.name})")
    for column in ("fact", "value", "unit"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for fact, found in arm.ranges.items():
        table.add_row(fact, f"{found['value']:.3g}", found["unit"])
    return table


def mixture_table(arm: ArmResult) -> Table:
    """How often an arm takes each op and how strongly, the most frequent first."""
    table = Table(title=f"Mixture ({arm.name})")
    for column in ("op", "probability", "mean strength", "of its bound", "unit"):
        table.add_column(column, justify="left" if column in ("op", "unit") else "right")
    for op, facts in sorted(arm.ranges.items(), key=lambda item: -item[1]["probability"]):
        strength, bound = facts["strength"], facts["bound"]
        share = f"{100 * strength / bound:.0f} %" if bound else "-"
        table.add_row(op, f"{100 * facts['probability']:.1f} %", f"{strength:.3g}", share, facts["unit"])
    return table
