"""Accuracy and learned ranges of the main job over seeds, with the controls.

`python -m benchmarks.digits` trains every arm of `configs/digits.yaml` for each seed (another split, other rotations,
other weights), prints one table and writes `benchmarks/results/digits.json`. Runs that are on disk are not repeated.
"""

import argparse
import json
import platform
import shutil
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from augnet.atomic_file import write_atomically
from benchmarks.environment import one_thread, versions
from lightning_modules.commands.cli import main as train

ARMS = ("plain", "uniform", "none", "shuffled", "flipped", "identity_hessian")
PACKAGES = ("torch", "pytorch-lightning", "kornia")


def run(arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train and test one arm with one seed, or read what an earlier call left."""
    name = f"{arm}-{seed}"
    summary = folder / name / "summary.json"
    if not summary.exists():
        shutil.rmtree(folder / name, ignore_errors=True)  # an interrupted run
        options = {
            "seed_everything": seed,
            "data.seed": seed,
            "model.control": arm,
            "run.folder": folder,
            "run.name": name,
            "run.compare": [],
            "run.wandb": "disabled",
            "trainer.enable_progress_bar": "false",
        }
        train(["fit", "--config=configs/digits.yaml", *(f"--{key}={value}" for key, value in options.items())])
    result: dict[str, Any] = json.loads(summary.read_text())
    (accuracy,) = result["test_accuracy"].values()
    return {"arm": arm, "seed": seed, "test_accuracy": accuracy, **{k: result[k] for k in ("ranges", "seconds")}}


def spread(values: list[float], digits: int = 1) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{deviation}"


def table(runs: list[dict[str, Any]]) -> Table:
    """One row an arm: accuracy, rotation, the largest other range, brightness and contrast, seconds."""
    columns = ("arm", "test accuracy, %", "rotation, degrees", "others, % of bound", "brightness", "contrast", "s")
    result = Table(title="Digits, mean ± standard deviation over seeds")
    for column in columns:
        result.add_column(column, justify="left" if column == "arm" else "right")
    for arm in ARMS:
        chosen = [row for row in runs if row["arm"] == arm]
        shares = [{op: 100 * f["half_width"] / f["bound"] for op, f in row["ranges"].items()} for row in chosen]
        cells = ["-"] * 4
        if arm != "plain":
            others = [fmean(v for op, v in share.items() if op != "rotation") for share in shares]
            cells = [
                spread([row["ranges"]["rotation"]["half_width"] for row in chosen]),
                spread(others, 0),
                spread([share["brightness"] for share in shares], 0),
                spread([share["contrast"] for share in shares], 0),
            ]
        name = "learned" if arm == "none" else arm
        accuracy = spread([100 * row["test_accuracy"] for row in chosen])
        result.add_row(name, accuracy, *cells, spread([row["seconds"] for row in chosen], 0))
    return result


def main() -> None:
    """Run what is missing, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-digits"), help="where the runs are kept")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/digits.json"), help="JSON file")
    options = parser.parse_args()
    runs = [run(arm, seed, options.folder) for seed in range(options.seeds) for arm in ARMS]
    setting = {
        "machine": one_thread(),
        "python": platform.python_version(),
        **versions(PACKAGES),
    }
    write_atomically(options.output, json.dumps({"setting": setting, "runs": runs}, indent=1) + "\n")
    Console(width=120).print(table(runs))


if __name__ == "__main__":
    main()
