"""Adapting a network to removed and to added images, beside retraining, replay and fine-tuning.

`python -m benchmarks.k_priors` trains a small convolutional network on a CIFAR-10 subset, removes a random tenth of
the images from it, and adds that tenth to a network trained without it, each time with a memory of 10 % of the past.
The network trained on all images is the retraining of the second task, the one retrained without the tenth the start
of it. Prints a table and writes `k_priors.json` and `k_priors.md` into `benchmarks/results`. Runs that are on disk are
not repeated.
"""

import argparse
import json
import platform
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from augnet.atomic_file import write_atomically
from benchmarks.digits import spread
from benchmarks.environment import one_thread, versions
from lightning_modules.commands.cli import main as augfluence

SHARE = 0.1
BATCH = 64
# task -> name of the arm: method and selection of the memory
ARMS = {
    "remove": {
        "K-prior": ("k_prior", "weighted"),
        "K-prior, top": ("k_prior", "top"),
        "replay": ("replay", "weighted"),
    },
    "add": {
        "K-prior": ("k_prior", "weighted"),
        "K-prior, top": ("k_prior", "top"),
        "replay": ("replay", "weighted"),
        "fine-tuning": ("fine_tune", "weighted"),
    },
}


def command(name: str, seed: int, options: argparse.Namespace, **settings: Any) -> list[str]:
    """The words of a command with the settings that all runs share."""
    shared = {
        "data": "ImageDataModule",
        "data.path": options.path,
        "data.train_size": options.train_size,
        "data.influence_size": 100,
        "data.val_size": 1000,
        "data.test_size": options.test_size,
        "data.batch_size": BATCH,
        "data.seed": seed,
        "seed_everything": seed,
        "model.control": "plain",
        "model.base_policy": "flip_crop",
        "model.model": "lightning_modules.classifier.models.SmallConvNet",
        "model.model_kwargs": "{width: 16}",
        "trainer.enable_progress_bar": "false",
        "run.threads": 1,
    }
    words = [f"--{key}={value}" for key, value in {**shared, **settings}.items()]
    return [name, "--config=configs/cifar10.yaml", *words]


def train(seed: int, options: argparse.Namespace) -> Path:
    """Train on all images, unless that was done; the run's folder."""
    folder: Path = options.folder / f"all-{seed}"
    if not (folder / "summary.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        settings = {
            "run.folder": options.folder,
            "run.name": folder.name,
            "run.compare": [],
            "run.wandb": "disabled",
            "trainer.max_epochs": options.epochs,
            "trainer.check_val_every_n_epoch": options.epochs,
        }
        augfluence(command("fit", seed, options, **settings))
    return folder


def adapt(start: Path, name: str, seed: int, options: argparse.Namespace, **settings: Any) -> dict[str, Any]:
    """Adapt the run in `start`, unless that was done; the summary."""
    folder = options.folder / f"{name}-{seed}"
    if not (folder / "summary.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        defaults = {
            "ckpt_path": start / "checkpoints/last.ckpt",
            "folder": folder,
            "memory": SHARE,
            "trainer.max_epochs": options.adapt_epochs,
            "lr": options.lr,
            "trainer.gradient_clip_val": 1.0,
        }
        augfluence(command("adapt", seed, options, **{**defaults, **settings}))
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def study(seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both tasks with one seed."""
    whole = train(seed, options)
    rows = torch.randperm(options.train_size, generator=torch.Generator().manual_seed(seed))
    file = options.folder / f"rows-{seed}.txt"
    write_atomically(file, "\n".join(str(row) for row in rows[: round(SHARE * options.train_size)].tolist()) + "\n")
    retraining = {
        "method": "retrain",
        "lr": "null",
        "trainer.max_epochs": options.epochs,
        "trainer.gradient_clip_val": "null",
    }
    without = adapt(whole, "without", seed, options, **{"change.remove": file, **retraining})
    trained = json.loads((whole / "summary.json").read_text())
    (accuracy,) = trained["test_accuracy"].values()
    full, left = (accuracy, trained["seconds"]), (without["test"], without["seconds"])
    found = []
    for task, start, target, folder in (
        ("remove", full, left, whole),
        ("add", left, full, options.folder / f"without-{seed}"),
    ):
        arms = {"before": (start[0], 0.0), "retraining": target}
        for arm, (method, selection) in ARMS[task].items():
            settings = {f"change.{task}": file, "method": method, "selection": selection}
            summary = adapt(folder, f"{task}-{method}-{selection}", seed, options, **settings)
            arms[arm] = (summary["test"], summary["seconds"])
        found += [
            {"task": task, "seed": seed, "arm": arm, "test": test, "seconds": seconds}
            for arm, (test, seconds) in arms.items()
        ]
    return found


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: one row a task and arm, mean and standard deviation over seeds."""
    lines = [
        "| task | method | test accuracy, % | minus retraining | time, s | time / retraining |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for task in ARMS:
        chosen: dict[str, list[dict[str, Any]]] = {}
        for row in runs:
            if row["task"] == task:
                chosen.setdefault(row["arm"], []).append(row)
        target = [100 * row["test"] for row in chosen["retraining"]]
        longest = fmean(row["seconds"] for row in chosen["retraining"])
        for arm, rows in chosen.items():
            accuracy, seconds = [100 * row["test"] for row in rows], [row["seconds"] for row in rows]
            gap = [ours - theirs for ours, theirs in zip(accuracy, target, strict=True)]
            cells = (task, arm, spread(accuracy), spread(gap), spread(seconds), f"{fmean(seconds) / longest:.2f}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing, print the table, write JSON and markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="../shared/data/cifar10", help="data, see ImageDataModule")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0")
    parser.add_argument("--train_size", type=int, default=4000, help="training images")
    parser.add_argument("--test_size", type=int, default=5000, help="test images")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each training")
    parser.add_argument("--adapt_epochs", type=int, default=4, help="passes over the memory and what is new")
    parser.add_argument("--lr", type=float, default=0.02, help="highest learning rate of adapting")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-k-priors"), help="where the runs are")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    runs = [row for seed in range(options.seeds) for row in study(seed, options)]
    setting = {
        "machine": one_thread(),
        "data": f"CIFAR-10, {options.train_size} training and {options.test_size} test images, {SHARE:.0%} changed",
        "network": f"SmallConvNet of width 16, bf16-mixed, {options.epochs} epochs",
        "adapting": f"memory {SHARE:.0%}, {options.adapt_epochs} passes, learning rate {options.lr}",
        "python": platform.python_version(),
        **versions(("torch", "pytorch-lightning")),
    }
    write_atomically(options.output / "k_priors.json", json.dumps({"setting": setting, "runs": runs}, indent=1) + "\n")
    write_atomically(options.output / "k_priors.md", table(runs))
    print(table(runs))


if __name__ == "__main__":
    main()
