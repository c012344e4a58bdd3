"""Which classes of CIFAR-10 strong crops hurt, whether influence foresees it, and what weakening them for some gives.

`python -m benchmarks.class_effects` runs `python -m analysis class_effects` at a size for one CPU core, with the votes
of CIFAR-10H where they lie beside the data (`test_human_counts.npy`), with both choices of the weaker strength, and
writes `class_effects.json`, `.md` and `.png` into `benchmarks/results`. Runs that are on disk are not repeated.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.class_effects.command import class_effects
from analysis.class_effects.study import Weaker
from analysis.class_effects.tables import grids, recipe_grids, recipe_text
from benchmarks.small_cifar import TRAINING, arguments, publish, result_of, setting


def study(path: str, folder: Path, seeds: int, weaker: Weaker) -> dict[str, Any]:
    """Run the analysis, what is missing of it, and read its result."""
    votes = Path(path) / "test_human_counts.npy"
    class_effects(
        path,
        folder=folder,
        seeds=seeds,
        weaker=weaker,
        human_counts=votes if votes.is_file() else None,
        training=TRAINING,
    )
    return result_of(folder, "class_effects")


def page(content: Mapping[str, Any]) -> str:
    """The tables in Markdown."""
    settings, result = content["settings"], content["result"]
    training, strengths = settings["training"], ", ".join(f"{strength:g}" for strength in settings["strengths"])
    head = (
        f"CIFAR-10, {settings['size']:,} training images, {training['model'].rpartition('.')[2]} of width "
        f"{training['model_kwargs']['width']}, {training['steps']} steps of {training['batch_size']}; "
        f"{settings['base']}, then {', '.join(settings['ops'])} at {strengths} of their bounds; {settings['seeds']} "
        f"seeds, torch {content['versions']['torch']}. Significant: at a rate of false discoveries of "
        f"{100 * settings['thresholds']['significance']:g} %."
    )
    parts = [head, *(grid.markdown() for grid in grids(result)), recipe_text(result["recipe"])]
    parts += ["With the strength at which each class has the fewest false positives (`weaker` fewest) instead:"]
    parts += [*(grid.markdown() for grid in recipe_grids(content["fewest"])), recipe_text(content["fewest"])]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run what is missing, write JSON, Markdown and pictures."""
    options = arguments(__doc__, "class-effects", seeds=5).parse_args()
    fewest = study(options.path, options.folder, options.seeds, "fewest")
    content = {**study(options.path, options.folder, options.seeds, "next"), "fewest": fewest["result"]["recipe"]}
    parts = {"classes": "class_effects.png", "prediction": "class_effects_prediction.png"}
    publish(
        options.output,
        "class_effects",
        {**content, "setting": setting()},
        page(content),
        {name: options.folder / "analysis" / f"class_effects_{part}.png" for part, name in parts.items()},
    )


if __name__ == "__main__":
    main()
