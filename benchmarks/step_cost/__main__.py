"""`python -m benchmarks.step_cost`: time and memory that learning the augmentation adds to a training step.

Trains every arm by `Trainer.fit` in a process of its own, in blocks that take turns. Two tables: all arms on each
model; and the learned arm as one setting after the other is moved from its default. Writes `step_cost.json` and
`step_cost.md` into `--out`. Leave the machine alone meanwhile.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import auto_cli
from rich.console import Console
from rich.markdown import Markdown

from augnet.atomic_file import write_atomically
from benchmarks.environment import environment
from benchmarks.step_cost.arms import ARMS, MODELS
from benchmarks.step_cost.cost_tables import caption, goals, summarised, table
from benchmarks.step_cost.rounds import Row, measure
from benchmarks.step_cost.task import Task
from lightning_modules.commands.terminal import mistakes_in_one_line
from lightning_modules.learner.settings import LearnerSettings

PACKAGES = ("torch", "torchvision", "kornia", "pytorch-lightning", "pillow")
_GROWTH_MODEL = "WRN-16-1"
# field of the task -> its name in tables, its values
FACTORS: dict[str, tuple[str, tuple[int, ...]]] = {
    "interval": ("interval", tuple(sorted({1, 2, 4, 10, 25, LearnerSettings.interval}))),
    "influence": ("images of the influence set", (100, 400, 1600)),
    "classes": ("classes K", (10, 100, 1000)),
    "features": ("features D", (64, 256, 1024)),
}
_OF_NETWORKS = ("classes", "features")


def arms_of(model: str, arms: list[str], shared: dict[str, Any]) -> list[Task]:
    """Return the first table's rows of one model."""
    return [Task(group=model, arm=arm, model=model, **shared) for arm in arms]


def growth(factor: str, shared: dict[str, Any]) -> list[Task]:
    """Return the second table's rows of one factor: the learned arm at each value, and plain training."""
    plain = Task(group=factor, arm="plain", model=_GROWTH_MODEL, **shared)
    fields: list[dict[str, Any]] = [{factor: value} for value in FACTORS[factor][1]]
    if factor in _OF_NETWORKS:
        return [replace(plain, arm=arm, **field) for field in fields for arm in ("plain", "learned")]
    return [plain, *(replace(plain, arm="learned", **field) for field in fields)]


def markdown(setting: dict[str, Any], rows: list[Row]) -> str:
    """Return both tables."""
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


def step_cost(
    models: list[str] = [*MODELS],  # noqa: B006 - read only
    arms: list[str] = [*ARMS],  # noqa: B006
    factors: list[str] = [*FACTORS],  # noqa: B006
    rounds: int = 9,
    steps: int = 40,
    batch: int = 128,
    influence: int = Task.influence,
    threads: int = 2,
    interval: int = LearnerSettings.interval,
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed",
    out: Path = Path("benchmarks/results"),
) -> None:
    """Measure the cost of a training step, print the tables, and write them.

    Args:
        models: Of the first table.
        arms: Of the first table.
        factors: Of the second table.
        rounds: Blocks of each arm, in turn with the others.
        steps: Steps of a block, made up to whole cycles of updates.
        batch: Images of a step.
        influence: Images of the influence set.
        threads: CPU threads of torch.
        interval: Steps between policy updates.
        precision: Of the trainer.
        out: Folder of JSON and Markdown.

    Raises:
        ValueError: If there is no model, arm or factor of a name.
    """
    for field, names, known in (("models", models, MODELS), ("arms", arms, ARMS), ("factors", factors, FACTORS)):
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{field}: there is no {unknown[0]!r}; known are {', '.join(known)}.")
    shared: dict[str, Any] = {"threads": threads, "batch": batch, "influence": influence, "rounds": rounds}
    shared |= {"steps": steps, "interval": interval, "precision": precision}
    groups = [arms_of(model, arms, shared) for model in models]
    groups += [growth(factor, shared) for factor in factors]
    setting, rows = environment(PACKAGES, **shared), []
    for tasks in (tasks for tasks in groups if tasks):
        rows += summarised(measure(tasks))
        write_atomically(out / "step_cost.json", json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")
        write_atomically(out / "step_cost.md", markdown(setting, rows))
    Console(width=160).print(Markdown(markdown(setting, rows)))


def main(args: list[str] | None = None) -> None:
    """Run the command; a user's mistake becomes one line."""
    with mistakes_in_one_line():
        auto_cli(step_cost, args=args, prog="python -m benchmarks.step_cost")


if __name__ == "__main__":
    main()
