"""Runs and results to report on, small enough for tests."""

import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from finished_runs import DIGITS, QUIET, digits_run
from matplotlib.figure import Figure
from PIL import Image

from analysis.results import write_result
from lightning_modules.commands.cli import main

EVIL = "<script>document.title='taken'</script>"
NAMES = [EVIL, 'a & "b" \'<img src=x onerror=alert(1)>', r"$\frac{$"]
RESULT: dict[str, Any] = {
    "curves": {"none": {"sizes": [10, 20], "fit": {"a": 0.5, "b": None}}, EVIL: {"sizes": [10], "fit": {"a": -1e-9}}},
    "rows": [{"class": EVIL, "rate": 12345.678, "clear": True}, {"class": "b", "rate": -0.5, "clear": False}],
    "share": 0.25,
    "matrix": [[1, 2], [3, 4]],
}


def evaluated_run(folder: Path, *settings: str) -> Path:
    """As `digits_run`, at 8 pixels and tested."""
    return digits_run(folder, "--data.image_size=8", "--run.test=true", *settings)


def odd_run(folder: Path) -> Path:
    """A run on noise with class names that are markup, tested and compared with plain."""
    rng = np.random.default_rng(0)
    labels = datasets.ClassLabel(names=NAMES)
    for split, count in (("train", 60), ("test", 15)):
        images = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(count)]
        features = datasets.Features({"image": datasets.Image(), "label": labels})
        table = {"image": images, "label": [number % len(NAMES) for number in range(count)]}
        (folder / "data").mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(table, features=features).to_parquet(str(folder / "data" / f"{split}.parquet"))
    data = {
        "path": folder / "data",
        "influence_size": 12,
        "val_size": 9,
        "test_size": 15,
        "image_size": 8,
        "batch_size": 12,
    }
    arguments = [f"--data.init_args.{name}={value}" for name, value in data.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        cli = main(
            [
                "fit", f"--config={DIGITS}", f"--run.folder={folder}", *QUIET, "--data=ImageDataModule", *arguments,
                "--trainer.max_epochs=3", "--model.learner.warmup=2", "--model.learner.interval=1",
                "--trainer.log_every_n_steps=1", "--model.ops=[rotation, hue]", "--run.test=true",
                "--run.compare=[plain]",
            ]
        )  # fmt: skip
    return cli.run_folder


def write_findings(folder: Path) -> None:
    """Results of all analyses with markup in them and a picture each."""
    for name in ("moments", "landscape", "exchange_rate", "class_effects"):
        figure = Figure(figsize=(8, 2))
        figure.subplots().plot([0, 1])
        write_result(folder, name, RESULT, settings={"folder": EVIL}, seed=0, figures={"rates": figure})
