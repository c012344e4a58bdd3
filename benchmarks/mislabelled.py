"""How many flipped labels are found among the training images ranked worst, by every score of `attribute`.

`python -m benchmarks.mislabelled` flips 5 % of the labels of a CIFAR-10 subset, trains with flip + crop and without
any augmentation (where the network memorises the wrong labels), ranks the training images by `train.py attribute`,
prints tables, and writes `mislabelled.json` and `mislabelled_pr.png` into `benchmarks/results`. Runs that are on disk
are not repeated.
"""

import argparse
import csv
import json
import platform
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from augnet.atomic_file import write_atomically
from benchmarks.digits import spread
from benchmarks.environment import one_thread, versions
from benchmarks.label_noise import FlippedImages
from lightning_modules.commands.cli import main as augfluence
from lightning_modules.monitoring.plots import save_figure

ARMS = {"flip_crop": "trained with flip + crop", "none": "trained without augmentation"}
SHARE = 0.05  # of the labels, and of the images that are checked
PACKAGES = ("torch", "pytorch-lightning")
VIEWS = 8
# score -> views of the attribution, column of its file, sign that ranks the worst first
SCORES = {
    "loss of the network": (VIEWS, "loss", 1),
    "margin of the network": (VIEWS, "margin", -1),
    "influence on the influence set": (VIEWS, "influence", 1),
    "self-influence": (VIEWS, "self_influence", 1),
    "mislabel score, no views": (0, "mislabel", 1),
    "mislabel score": (VIEWS, "mislabel", 1),
}
_CURVE_POINTS = 100


def train(arm: str, seed: int, options: argparse.Namespace) -> Path:
    """Train one classifier, unless its checkpoint is there; returns the folder of the run."""
    folder: Path = options.folder / f"{arm}-{seed}"
    if not (folder / "checkpoints/last.ckpt").exists():
        settings = {
            "data": "benchmarks.label_noise.FlippedImages",
            "data.path": options.path,
            "data.flip_share": SHARE,
            "data.train_size": options.train_size,
            "data.influence_size": 400,
            "data.val_size": 1000,
            "data.batch_size": 64,
            "data.seed": seed,
            "seed_everything": seed,
            "model.control": "plain",
            "model.base_policy": arm,
            "model.model": "lightning_modules.classifier.models.WideResNet",
            "trainer.max_epochs": options.epochs,
            "trainer.check_val_every_n_epoch": options.epochs,
            "trainer.enable_progress_bar": "false",
            "run.folder": options.folder,
            "run.name": folder.name,
            "run.compare": [],
            "run.test": "false",
            "run.threads": 1,
            "run.wandb": "disabled",
        }
        augfluence(["fit", "--config=configs/cifar10.yaml", *(f"--{key}={value}" for key, value in settings.items())])
    return folder


def read_scores(run: Path, views: int) -> dict[str, Tensor]:
    """Columns of the attribution of a run, which is made unless it is there."""
    folder = run / f"attribution-{views}"
    if not (folder / "attribution.csv").exists():
        settings = {"ckpt_path": run / "checkpoints/last.ckpt", "folder": folder, "views": views}
        settings_list = [f"--{key}={value}" for key, value in settings.items()]
        augfluence(["attribute", f"--config={run / 'config.yaml'}", *settings_list])
    with (folder / "attribution.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        column: torch.tensor([float(row[column]) for row in rows])
        for column in ("loss", "margin", "influence", "self_influence", "mislabel")
    }


def measure(score: Tensor, flipped: Tensor) -> dict[str, Any]:
    """Quality of a ranking, worst first.

    Args:
        score: `[N]`, high is suspect.
        flipped: `[N]` bool.

    Returns:
        `recall`: share of the flipped labels in the first 5 %; `average_precision`; `curve`: `[share checked,
        precision, recall]` at 100 shares.

    Example:
        >>> quality = measure(torch.arange(100.0), torch.arange(100) >= 96)
        >>> quality["recall"], round(quality["average_precision"], 6)
        (1.0, 1.0)
    """
    found = flipped[score.argsort(descending=True, stable=True)].double()
    checked = torch.arange(1, len(found) + 1)
    precision = found.cumsum(0) / checked
    recall = found.cumsum(0) / found.sum()
    points = torch.linspace(0, 1, _CURVE_POINTS + 1)[1:].square() * len(found)  # denser where few are checked
    curve = [[k / len(found), float(precision[k - 1]), float(recall[k - 1])] for k in points.ceil().int().tolist()]
    return {
        "recall": float(recall[round(SHARE * len(found)) - 1]),
        "average_precision": float((precision * found).sum() / found.sum()),
        "curve": [[round(value, 5) for value in point] for point in curve],
    }


def study(arm: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One classifier: how well it fits, and the quality of every score."""
    run = train(arm, seed, options)
    columns = {views: read_scores(run, views) for views in (0, VIEWS)}
    data = FlippedImages(options.path, SHARE, train_size=options.train_size, influence_size=400, seed=seed)
    flipped = data.flipped()
    fitted = columns[VIEWS]["margin"] > 0
    with (run / "metrics.csv").open(newline="") as file:
        accuracy = [float(row["val/acc"]) for row in csv.DictReader(file) if row.get("val/acc")][-1]
    return {
        "arm": arm,
        "seed": seed,
        "val_accuracy": accuracy,
        "clean_labels_fitted": float(fitted[~flipped].double().mean()),
        "flipped_labels_fitted": float(fitted[flipped].double().mean()),
        "scores": {name: measure(sign * columns[v][column], flipped) for name, (v, column, sign) in SCORES.items()},
    }


def table(arm: str, runs: list[dict[str, Any]]) -> Table:
    """One row a score, over the seeds."""
    facts = ("val_accuracy", "clean_labels_fitted", "flipped_labels_fitted")
    shown = [spread([100 * run[fact] for run in runs]) for fact in facts]
    title = f"{ARMS[arm]}; validation accuracy {shown[0]} %, clean labels fitted {shown[1]} %, flipped {shown[2]} %"
    result = Table(title=title, title_justify="left")
    for column in ("score", "flipped labels found in the worst 5 %", "each seed", "average precision, %"):
        result.add_column(column, justify="left" if column == "score" else "right")
    for name in SCORES:
        recalls = [100 * run["scores"][name]["recall"] for run in runs]
        precisions = [100 * run["scores"][name]["average_precision"] for run in runs]
        each = " ".join(f"{value:.1f}" for value in recalls)
        result.add_row(name, f"{spread(recalls)} %", each, spread(precisions))
    return result


def plot(runs: list[dict[str, Any]]) -> Figure:
    """Precision against recall, mean over seeds, one panel an arm; a dot where 5 % are checked."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panels = figure.subplots(1, len(ARMS), sharey=True)
    for panel, (arm, title) in zip(panels, ARMS.items(), strict=True):
        chosen = [run["scores"] for run in runs if run["arm"] == arm]
        for color, name in enumerate(SCORES):
            curves = torch.tensor([scores[name]["curve"] for scores in chosen]).mean(dim=0)
            width = 2.2 if name in ("mislabel score", "loss of the network") else 1.0
            panel.plot(curves[:, 2], curves[:, 1], color=f"C{color}", linewidth=width, label=name)
            recall = fmean(scores[name]["recall"] for scores in chosen)
            panel.plot(recall, recall, "o", color=f"C{color}", markersize=5)  # as many are checked as are flipped
        panel.axhline(SHARE, color="0.6", linewidth=0.8, linestyle=":", label="chance")
        panel.set(title=title, xlabel="recall of the flipped labels", xlim=(0, 1), ylim=(0, 1.02))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("precision")
    panels[-1].legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def main() -> None:
    """Run what is missing, print the tables, write JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="../shared/data/cifar10", help="data, see ImageDataModule")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0")
    parser.add_argument("--train_size", type=int, default=5000, help="training images")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each training")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-mislabelled"), help="where the runs are")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of JSON and picture")
    options = parser.parse_args()
    runs = [study(arm, seed, options) for seed in range(options.seeds) for arm in ARMS]
    setting = {
        "machine": one_thread(),
        "data": f"{options.path}: {options.train_size} training images, {SHARE:.0%} of the labels flipped",
        "network": f"WideResNet-16-1, {options.epochs} epochs, bf16-mixed",
        "python": platform.python_version(),
        **versions(PACKAGES),
    }
    write_atomically(options.output / "mislabelled.json", json.dumps({"setting": setting, "runs": runs}) + "\n")
    save_figure(plot(runs), options.output / "mislabelled_pr.png")
    for arm in ARMS:
        Console(width=120).print(table(arm, [run for run in runs if run["arm"] == arm]))


if __name__ == "__main__":
    main()
