"""How many augmented samples an estimate needs on CIFAR-10: the tables of docs/analysis.md.

`python -m benchmarks.moments` trains a WideResNet-16-1 on 4,000 images (about four minutes on one core; left out if it
is there already), runs `python -m analysis moments` on it, and writes `moments_cifar10.json`, `.md` and pictures into
`benchmarks/results`.
"""

import argparse
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.__main__ import main as analyse
from analysis.moments.influence_estimates import ESTIMATES
from analysis.result_files import read_result
from augnet.atomic_file import write_atomically
from lightning_modules.commands.cli import build_cli

_NAME = "moments_cifar10"


def train(path: str, folder: Path) -> None:
    """Train the network that is looked at, unless it is there."""
    if (folder / "checkpoints" / "last.ckpt").is_file():
        return
    settings = {
        "data.path": path,
        "data.train_size": 4000,
        "model.model": "lightning_modules.classifier.models.WideResNet",
        "trainer.max_epochs": 20,
        "run.compare": "[]",
        "run.wandb": "disabled",
        "run.folder": str(folder.parent),
        "run.name": folder.name,
    }
    build_cli(["fit", "--config=configs/cifar10.yaml", *(f"--{name}={value}" for name, value in settings.items())])


def page(content: Mapping[str, Any]) -> str:
    """The tables in Markdown."""
    settings, result = content["settings"], content["result"]
    rows = result["augmentations"]
    head = (
        f"Draws for a relative error of {100 * settings['error']:g} % at {100 * settings['confidence']:g} % "
        f"confidence: medians over {settings['images']} training images of CIFAR-10, quartiles in brackets. "
        f"WideResNet-16-1, {result['epochs']} epochs on 4,000 images, torch {content['versions']['torch']}."
    )
    parts = [
        head,
        _table(
            "augmentation, loss of one image, mean loss of the images, mean image, covariance (order), R, A",
            [_samples(row) for row in rows],
        ),
        "Expected loss, means over the images; first-order variance as a share of the true one, median.",
        _table("augmentation, as it is, all views, mean image, second order, variance", [_loss(row) for row in rows]),
        f"Expected influence: share of the change that is left unexplained, {settings['influence_images']} images.",
        _table(
            "policy, strength, mean image alone, second order, second order by steps",
            [_influence(row) for row in result["influence"]],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: str, rows: list[list[str]]) -> str:
    names = header.split(", ")
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _samples(row: Mapping[str, Any]) -> list[str]:
    loss, aligned = row["samples"]["loss"], row["alignment"]
    single = f"{_count(loss['median'])} ({_count(loss['low'])}-{_count(loss['high'])})"
    others = [row["samples_mean_loss"], *(row["samples"][kind]["median"] for kind in ("image", "covariance"))]
    return [row["augmentation"], single, *map(_count, others), f"{aligned['R']:.1e}", f"{aligned['A']:.2f}"]


def _loss(row: Mapping[str, Any]) -> list[str]:
    loss = row["loss"]
    numbers = [loss[name] for name in ("clean", "expected", "at_mean", "second_order", "first_order_variance_ratio")]
    return [row["augmentation"], *("-" if number is None else f"{number:.2f}" for number in numbers)]


def _influence(row: Mapping[str, Any]) -> list[str]:
    shares = [row["unexplained"][name] for name in ESTIMATES]
    return [row["family"], f"{row['strength']:g}", *("-" if share is None else f"{share:.2f}" for share in shares)]


def _count(count: int | None) -> str:
    """Three digits, or that no number is enough."""
    return "none" if count is None else f"{float(f'{count:.3g}'):,.0f}"


def main() -> None:
    """Train, analyse, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="../shared/data/cifar10", help="data, see ImageDataModule")
    parser.add_argument("--run", type=Path, default=Path("runs/benchmark-moments"), help="folder of the network")
    parser.add_argument("--images", type=int, default=20, help="training images to look at")
    parser.add_argument("--views", type=int, default=256, help="views where they cannot be enumerated")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    train(options.path, options.run)
    if read_result(options.run, "moments") is None:
        sizes = [f"--images={options.images}", f"--views={options.views}", "--influence_images=6"]
        analyse(["moments", str(options.run), f"--data_path={options.path}", *sizes])
    content = read_result(options.run, "moments") or {}
    source = options.run / "analysis"
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    write_atomically(options.output / f"{_NAME}.json", (source / "moments.json").read_text())
    write_atomically(options.output / f"{_NAME}.md", page(content) + f"\n{machine}.\n")
    shutil.copy(source / "moments_samples.png", options.output / f"{_NAME}.png")
    shutil.copy(source / "moments_influence.png", options.output / f"{_NAME}_influence.png")


if __name__ == "__main__":
    main()
