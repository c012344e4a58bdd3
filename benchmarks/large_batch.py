"""Test accuracy against the batch size, with and without distinctive regularisation.

`python -m benchmarks.large_batch` trains a small convolutional network on a CIFAR-10 subset with batches of 128 to
4,096 images, the learning rate in proportion to the batch size, warm-up and cosine decay, the same number of epochs.
`twin` has the doubled classifier layer without the penalty, so it has as many parameters as the arms with it. Prints a
table and writes `large_batch.json` and `large_batch.md` into `benchmarks/results`. Runs that are on disk are not
repeated.
"""

import argparse
import json
import platform
from functools import lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytorch_lightning as pl
import torch

from augnet.atomic_file import write_atomically
from augnet.baselines import FlipCrop
from benchmarks.digits import spread
from benchmarks.environment import one_thread, versions
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.classifier.distinctive import merge_copy
from lightning_modules.data import ImageDataModule

# name -> the words of the classifier's configuration
ARMS: dict[str, dict[str, Any]] = {
    "single layer": {},
    "twin, no penalty": {"distinctive": "cosine", "distinctive_weight": 0.0},
    "twin, cosine 1": {"distinctive": "cosine", "distinctive_weight": 1.0},
}
BASELINE = "twin, no penalty"
BATCHES = (128, 1024, 4096)
LEARNING_RATE = 0.05  # at a batch of 128
_T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # of Student's t, by number of seeds


@lru_cache(maxsize=1)
def read_data(path: str, train_size: int, seed: int) -> ImageDataModule:
    """The data of a seed, read once."""
    return ImageDataModule(path, train_size=train_size, influence_size=10, test_size=5000, seed=seed)


def train(arm: str, batch: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one classifier and test it with the copy dropped and with it merged."""
    pl.seed_everything(seed, verbose=False)
    data = read_data(options.path, options.train_size, seed)
    data.batch_size = batch

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        rate = LEARNING_RATE * batch / 128
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)

    model = Classifier(
        10,
        3,
        model_kwargs={"width": options.width},
        optimizer=optimizer,
        pixel_mean=[0.491, 0.482, 0.447],
        pixel_std=[0.247, 0.243, 0.262],
        augmentation=FlipCrop(),
        **ARMS[arm],
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        precision="bf16-mixed",
        max_epochs=options.epochs,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    data.batch_size = 1000
    result: dict[str, Any] = {"arm": arm, "batch": batch, "seed": seed, "steps": trainer.global_step}
    result["parameters"] = sum(parameter.numel() for parameter in model.network.parameters())
    result["train_loss"] = float(trainer.callback_metrics["train/loss"])
    if model.twin is not None:
        result["squared_cosine"] = float(model.twin.penalty())
    result["dropped"] = trainer.test(model, datamodule=data, verbose=False)[0]["test/acc"]
    if model.twin is not None:
        merge_copy(model.twin)
        result["merged"] = trainer.test(model, datamodule=data, verbose=False)[0]["test/acc"]
    return result


def run(arm: str, batch: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one classifier, or read what an earlier call left."""
    file: Path = options.folder / f"{arm}-{batch}-{seed}.json"
    if not file.exists():
        write_atomically(file, json.dumps(train(arm, batch, seed, options)) + "\n")
    result: dict[str, Any] = json.loads(file.read_text())
    return result


def difference(ours: list[float], theirs: list[float]) -> str:
    """Mean paired difference with its 95 % interval by Student's t.

    Example:
        >>> difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
        '+2.0 ± 0.0'
    """
    pairs = [a - b for a, b in zip(ours, theirs, strict=True)]
    if len(pairs) not in _T_975:
        return f"{fmean(pairs):+.1f}"
    return f"{fmean(pairs):+.1f} ± {_T_975[len(pairs)] * stdev(pairs) / len(pairs) ** 0.5:.1f}"


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: one row a batch size and arm; the last column is paired with the twin without penalty."""
    lines = [
        "| batch | steps | arm | test accuracy, copy dropped, % | copy merged, % | squared cosine at the end "
        "| dropped minus twin without penalty (95 %) |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for batch in sorted({row["batch"] for row in runs}):
        accuracy = {
            arm: [100 * row["dropped"] for row in runs if (row["arm"], row["batch"]) == (arm, batch)] for arm in ARMS
        }
        for arm, values in accuracy.items():
            chosen = [row for row in runs if (row["arm"], row["batch"]) == (arm, batch)]
            merged, cosine, gain = "-", "-", "-"
            if "merged" in chosen[0]:
                merged = spread([100 * row["merged"] for row in chosen])
                cosine = f"{fmean(row['squared_cosine'] for row in chosen):.2f}"
            if arm != BASELINE:
                gain = difference(values, accuracy[BASELINE])
            cells = (str(batch), str(chosen[0]["steps"]), arm, spread(values), merged, cosine, gain)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing, print the table, write JSON and markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="../shared/data/cifar10", help="data, see ImageDataModule")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0")
    parser.add_argument("--train_size", type=int, default=8192, help="training images")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each training")
    parser.add_argument("--width", type=int, default=12, help="of the network, see SmallConvNet")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-large-batch"), help="where the runs are")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = [run(arm, batch, seed, options) for seed in range(options.seeds) for batch in BATCHES for arm in ARMS]
    setting = {
        "machine": one_thread(),
        "data": f"CIFAR-10, {options.train_size} training images, flip + crop, 5,000 test images",
        "training": f"SmallConvNet of width {options.width}, {options.epochs} epochs, bf16-mixed, SGD with Nesterov "
        f"momentum 0.9, weight decay 5e-4, highest learning rate {LEARNING_RATE} * batch / 128, one cycle",
        "python": platform.python_version(),
        **versions(("torch", "pytorch-lightning")),
    }
    write_atomically(options.output / "large_batch.json", json.dumps({"setting": setting, "runs": runs}, indent=1))
    write_atomically(options.output / "large_batch.md", table(runs))
    print(table(runs))


if __name__ == "__main__":
    main()
