"""How many real CIFAR-10 images flip + crop and TrivialAugment are worth to a small network.

`python -m benchmarks.exchange_rate` runs `python -m analysis exchange_rate` at a size for one CPU core and writes
`exchange_rate.json`, `exchange_rate.md` and `exchange_rate.png` into `benchmarks/results`. Runs that are on disk are
not repeated.
"""

import argparse
import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from analysis.exchange_rate.command import exchange_rate_study, interpolated_text, poor_fits, rate_text
from analysis.exchange_rate.setting import Measurement, Training
from analysis.results import read_result
from augnet.atomic_file import write_atomically
from benchmarks.environment import versions

POLICIES = ["flip_crop", "flip_crop+trivial_augment"]
TRAINING = Training(
    steps=500,
    model_kwargs={"width": 8},
    pixel_mean=[0.491, 0.482, 0.447],
    pixel_std=[0.247, 0.243, 0.262],
    accelerator="cpu",
)
MEASUREMENT = Measurement(val_size=2500, corruptions=["gaussian_noise", "gaussian_blur", "contrast"])


def table(result: dict[str, Any]) -> str:
    """Markdown: one row a policy and size, accuracies as means over the seeds."""
    lines = [
        "| policy | images | accuracy, % | worth in extra images (95 %) | interpolated | corrupted, % "
        "| worth there (95 %) | interpolated |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    inside, outside = result["in_domain"], result["corrupted"]
    for arm, curve in inside["curves"].items():
        for index, size in enumerate(curve["sizes"]):
            cells = [arm, f"{size:,}"]
            for measure in (inside, outside):
                cells.append(f"{100 * fmean(measure['curves'][arm]['accuracies'][index]):.1f}")
                points = measure["rates"].get(arm)
                cells += ["-", "-"] if points is None else [_rate(points[index]), interpolated_text(points[index])]
            lines.append(f"| {' | '.join(cells)} |")
    notes = [
        "`*`: above the largest measured accuracy without augmentation, extrapolated. Interpolated: between measured "
        "means, without power laws.",
        *(f"Validation images: {note}" for note in poor_fits(inside)),
        *(f"Corrupted images: {note}" for note in poor_fits(outside)),
    ]
    return "\n".join([*lines, "", *(f"{note}\n" for note in notes)])


def _rate(point: dict[str, Any]) -> str:
    return rate_text(point) + (" *" if point["extrapolated"] else "")


def main() -> None:
    """Run what is missing, write JSON, markdown and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="../shared/data/cifar10", help="data, see ImageDataModule")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0")
    parser.add_argument("--steps", type=int, default=TRAINING.steps, help="training steps of each run")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 4000], help="training images")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-exchange-rate"), help="where the runs are")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    exchange_rate_study(
        options.path,
        folder=str(options.folder),
        policies=POLICIES,
        sizes=options.sizes,
        seeds=options.seeds,
        training=replace(TRAINING, steps=options.steps),
        measurement=MEASUREMENT,
    )
    content = read_result(options.folder, "exchange_rate")
    if content is None:
        raise FileNotFoundError(f"{options.folder} has no result; run this again.")
    setting = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread used",
        "seeds": options.seeds,
        "data": "CIFAR-10, class-balanced training subsets, 2,500 other training images to measure on",
        **versions(("torch", "pytorch-lightning", "kornia", "scipy")),
    }
    pictures = options.folder / "analysis"
    write_atomically(
        options.output / "exchange_rate.json", json.dumps({"setting": setting, **content}, indent=1) + "\n"
    )
    words = ", ".join(f"{name} {value}" for name, value in setting.items())
    training = f"SmallConvNet of width 8, {options.steps} steps of 128 images, SGD, one cycle to 0.1, bf16"
    write_atomically(options.output / "exchange_rate.md", f"{training}; {words}.\n\n{table(content['result'])}")
    write_atomically(options.output / "exchange_rate.png", (pictures / "exchange_rate_rates.png").read_bytes())
    write_atomically(options.output / "exchange_rate_curves.png", (pictures / "exchange_rate_curves.png").read_bytes())
    print(table(content["result"]))


if __name__ == "__main__":
    main()
