"""`python -m benchmarks.step_cost`: what learning the augmentation adds to a training step, in time and in memory.

Trains every arm by `Trainer.fit` in a process of its own, in blocks that take turns. Two tables: all arms on each
model; and the learned arm as one setting after the other is moved from its default. Writes `step_cost.json` and
`step_cost.md` into `--out`. Leave the machine alone meanwhile.
"""

import argparse
import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from augnet.atomic_file import write_atomically
from benchmarks.environment import processor, versions
from benchmarks.step_cost.arms import ARMS, MODELS
from benchmarks.step_cost.rounds import Row, measure
from benchmarks.step_cost.tables import caption, goals, summarised, table
from benchmarks.step_cost.task import Task
from lightning_modules.learner.settings import LearnerSettings

PACKAGES = ("torch", "torchvision", "kornia", "pytorch-lightning", "pillow")
_GROWTH_MODEL = "WRN-16-1"
# field of the task -> what it is, its values
FACTORS: dict[str, tuple[str, tuple[int, ...]]] = {
    "interval": ("interval", tuple(sorted({1, 2, 4, 10, 25, LearnerSettings.interval}))),
    "influence": ("images of the influence set", (100, 400, 1600)),
    "classes": ("classes K", (10, 100, 1000)),
    "features": ("features D", (64, 256, 1024)),
}
_OF_NETWORKS = ("classes", "features")
_ASKED = ("threads", "batch", "influence", "rounds", "steps", "interval", "precision")


def arms_of(model: str, arms: list[str], shared: dict[str, Any]) -> list[Task]:
    """The first table's rows of one model."""
    return [Task(group=model, arm=arm, model=model, **shared) for arm in arms]


def growth(factor: str, shared: dict[str, Any]) -> list[Task]:
    """The second table's rows of one factor: the learned arm at each value, and plain training for comparison."""
    plain = Task(group=factor, arm="plain", model=_GROWTH_MODEL, **shared)
    fields: list[dict[str, Any]] = [{factor: value} for value in FACTORS[factor][1]]
    if factor in _OF_NETWORKS:
        return [replace(plain, arm=arm, **field) for field in fields for arm in ("plain", "learned")]
    return [plain, *(replace(plain, arm="learned", **field) for field in fields)]


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Machine, packages, and what was asked for."""
    asked = {name: getattr(options, name) for name in _ASKED}
    machine = f"{processor()}, {os.cpu_count()} cores"
    return {"machine": machine, "python": platform.python_version(), **versions(PACKAGES), **asked}


def markdown(setting: dict[str, Any], rows: list[Row]) -> str:
    """Both tables."""
    parts = ["# What learning the augmentation costs a training step", caption(setting)]
    groups = {
        group: [row for row in rows if row["group"] == group] for group in dict.fromkeys(r["group"] for r in rows)
    }
    parts += ["## Goals", goals(rows)] if goals(rows) else []
    for group, found in groups.items():
        if group in FACTORS:
            text = FACTORS[group][0]
            alone = group not in _OF_NETWORKS  # plain training has no interval and no influence set
            names = [row["arm"] + (f", {row[group]}" if row["arm"] == "learned" or not alone else "") for row in found]
            parts += [f"## {_GROWTH_MODEL}, {text}", table(found, f"training, {text}", names)]
        else:
            parts += [f"## {group}", table(found, "training with", [ARMS[row["arm"]].text for row in found])]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> None:
    """Measure, print the tables, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=[*MODELS], help="of the first table")
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=[*ARMS], help="of the first table")
    parser.add_argument("--factors", nargs="*", choices=FACTORS, default=[*FACTORS], help="of the second table")
    parser.add_argument("--rounds", type=int, default=9, help="blocks of each arm, in turn with the others")
    parser.add_argument("--steps", type=int, default=40, help="steps of a block, made up to whole cycles of updates")
    parser.add_argument("--batch", type=int, default=128, help="images of a step")
    parser.add_argument("--influence", type=int, default=Task.influence, help="images of the influence set")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--interval", type=int, default=LearnerSettings.interval, help="steps between policy updates")
    parser.add_argument("--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed", help="of the trainer")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of JSON and Markdown")
    options = parser.parse_args()
    shared = {name: getattr(options, name) for name in _ASKED}
    groups = [arms_of(model, options.arms, shared) for model in options.models]
    groups += [growth(factor, shared) for factor in options.factors]
    setting, rows = environment(options), []
    for tasks in (tasks for tasks in groups if tasks):
        rows += summarised(measure(tasks))
        write_atomically(
            options.out / "step_cost.json", json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n"
        )
        write_atomically(options.out / "step_cost.md", markdown(setting, rows))
    Console(width=160).print(Markdown(markdown(setting, rows)))


if __name__ == "__main__":
    main()
