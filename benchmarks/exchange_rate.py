"""How many real CIFAR-10 images flip + crop and TrivialAugment are worth to a small network.

`python -m benchmarks.exchange_rate` runs `python -m analysis exchange_rate` at a size for one CPU core and writes
`exchange_rate.json`, `exchange_rate.md` and `exchange_rate.png` into `benchmarks/results`. Runs that are on disk are
not repeated.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from analysis.exchange_rate.command import exchange_rate_study
from analysis.exchange_rate.setting import Measurement
from analysis.exchange_rate.tables import poor_fits, worth_cells
from benchmarks.small_cifar import TRAINING, arguments, publish, result_of, setting

POLICIES = ["flip_crop", "flip_crop+trivial_augment"]
STEPS = 500
MEASUREMENT = Measurement(val_size=2500, corruptions=["gaussian_noise", "gaussian_blur", "contrast"])


def page(content: Mapping[str, Any]) -> str:
    """What was trained on what, and one row a policy and size, in Markdown; accuracies are means over the seeds."""
    training, result = content["settings"]["training"], content["result"]
    words = ", ".join(f"{name} {value}" for name, value in content["setting"].items())
    head = (
        f"{training['model'].rpartition('.')[2]} of width {training['model_kwargs']['width']}, {training['steps']} "
        f"steps of {training['batch_size']} images, SGD, one cycle to {training['lr']:g}, {training['precision']}; "
        f"{words}."
    )
    return f"{head}\n\n{_table(result)}"


def _table(result: Mapping[str, Any]) -> str:
    lines = [
        "| policy | images | accuracy, % | worth in extra images (95 %) | interpolated | corrupted, % "
        "| worth there (95 %) | interpolated |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    inside, outside = result["in_domain"], result["corrupted"]
    for arm, curve in inside["curves"].items():
        for index, size in enumerate(curve["sizes"]):
            cells = [arm, f"{size:,}", *worth_cells(inside, arm, index), *worth_cells(outside, arm, index)]
            lines.append(f"| {' | '.join(cells)} |")
    notes = [
        "`*`: above the largest measured accuracy without augmentation, extrapolated. Interpolated: between measured "
        "means, without power laws.",
        *(f"Validation images: {note}" for note in poor_fits(inside)),
        *(f"Corrupted images: {note}" for note in poor_fits(outside)),
    ]
    return "\n".join([*lines, "", *(f"{note}\n" for note in notes)])


def main() -> None:
    """Run what is missing, write JSON, Markdown and pictures."""
    parser = arguments(__doc__, "exchange-rate", seeds=3)
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of each run")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 4000], help="training images")
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
    data = "CIFAR-10, class-balanced training subsets, 2,500 other training images to measure on"
    content = {"setting": setting(seeds=options.seeds, data=data), **result_of(options.folder, "exchange_rate")}
    parts = {"rates": "exchange_rate.png", "curves": "exchange_rate_curves.png"}
    publish(
        options.output,
        "exchange_rate",
        content,
        page(content),
        {name: options.folder / "analysis" / f"exchange_rate_{part}.png" for part, name in parts.items()},
    )


if __name__ == "__main__":
    main()
