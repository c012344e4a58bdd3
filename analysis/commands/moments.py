"""The command `moments`: moments of images and losses under common augmentations and those of a run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_modules.learner.targets import as_probabilities
from lightning_modules.monitoring.progress import progress_bar

from ..moments.augmentations import Augmentation, Budget, Example, augmentations_of
from ..moments.influence_estimates import FAMILIES, STRENGTHS, compare_influence
from ..moments.measurement import measure, summarize
from ..moments.moment_figures import image_picture, influence_picture, samples_picture
from ..moments.policy_influence import capture_of, influence_function, solve_for_influence_set
from ..moments.sample_size import TargetPrecision
from ..results import write_result
from ..run_folder import OpenedRun, open_run
from ..sampling import draw_rows
from ..text_table import TextTable

_RENAMED = {"colour_jitter": "color_jitter", "crop_and_colour": "crop_and_color"}


def moments(
    run: Path,
    images: int = 32,
    influence_images: int = 8,
    views: int = 512,
    error: float = 0.01,
    confidence: float = 0.95,
    augmentations: list[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    data_path: str | None = None,
) -> None:
    """Compute moments of augmented images and of the loss: samples they need, and influence they predict.

    For training images of a finished run, its network, and each augmentation: draws needed until the mean image, its
    covariance and the loss are right; the alignment of the saliency with the covariance; the expected loss and
    influence from mean and covariance alone, compared with those of all views. Writes RUN/analysis/moments.json and
    pictures beside it.

    Args:
        run: The folder of a finished run, runs/NAME.
        images: Training images to measure on, at least 2, drawn at random.
        influence_images: How many of them the expected influence is compared on; 0 leaves that out.
        views: Views of each image where a policy cannot be enumerated.
        error: Required relative error of an estimate, 0.01 is one percent.
        confidence: Of that error for the loss, in (0, 1).
        augmentations: Names of augmentations; by default all common ones and the run's own.
        seed: Of the choice of images and views.
        device: Device of the network: auto, cpu, cuda.
        data_path: Present place of the data, if they have moved since the run.
    """
    precision, budget = TargetPrecision(error, confidence), Budget(views, seed)
    if images < 2 or influence_images < 0 or views < 2:
        raise ValueError(
            f"images and views must be at least 2, influence_images at least 0, found {images}, {views} and "
            f"{influence_images}."
        )
    opened = open_run(run, device, data_path)
    opened.data.check_one_label("moments")
    chosen = _chosen(augmentations_of(opened), augmentations)
    examples = _examples(opened, images, seed)
    compared = min(influence_images, len(examples))
    with progress_bar() as bar:
        task = bar.add_task("moments", total=len(chosen) * len(examples))
        rows = []
        for name, augmentation in chosen.items():
            measured = []
            for example in examples:
                measured.append(measure(opened.model, augmentation, example, budget, precision))
                bar.advance(task)
            rows.append(summarize(name, measured, precision))
        task = bar.add_task("influence", total=compared * len(FAMILIES) * len(STRENGTHS), visible=compared > 0)
        influence = _influence(opened, examples[:compared], budget, lambda: bar.advance(task))
    epochs = (opened.config.get("trainer") or {}).get("max_epochs")
    result = {"epochs": epochs, "augmentations": rows, "influence": influence}
    figures = {"samples": samples_picture(rows, precision, epochs)}
    figures["images"] = image_picture(chosen, examples[0], budget)
    if influence:
        figures["influence"] = influence_picture(influence)
    settings = {**asdict(precision), "images": len(examples), "influence_images": compared, "views": views}
    files = write_result(run, "moments", result, settings=settings, seed=seed, figures=figures)
    table = _table(rows, precision).rich()
    table.columns[0].no_wrap = True  # the numbers are wrapped first
    Console().print(table)
    for file in files:
        Console().print(f"Written: {file}", soft_wrap=True)


def _chosen(known: dict[str, Augmentation], names: Sequence[str] | None) -> dict[str, Augmentation]:
    for former, name in _RENAMED.items():
        if names is not None and former in names:
            warnings.warn(f"augmentations: {former} is {name} now", DeprecationWarning, stacklevel=2)
    names = None if names is None else [_RENAMED.get(name, name) for name in names]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"augmentations: unknown {', '.join(unknown)}; this run knows {', '.join(known)}.")
    return known if names is None else {name: known[name] for name in names}


def _examples(run: OpenedRun, count: int, seed: int) -> list[Example]:
    """Return training images drawn at random, each with the next one as its partner."""
    train = run.data.splits.train
    rows = draw_rows(len(train), count, seed)
    images, labels = (part.to(run.model.device) for part in train.__getitems__(rows))
    targets = as_probabilities(labels, run.data.num_classes)
    pairs = [[k, (k + 1) % len(rows)] for k in range(len(rows))]
    return [Example(images[pair], labels[pair], targets[pair]) for pair in pairs]


def _influence(run: OpenedRun, examples: Sequence[Example], budget: Budget, on_example: Any) -> list[dict[str, Any]]:
    if not examples:
        return []
    capture = capture_of(run.model, run.data)
    solution = solve_for_influence_set(capture, run.data, run.model.learned_augmentation.settings.damping)
    return compare_influence(
        lambda example: influence_function(capture, solution, example.targets[0]), examples, budget, on_example
    )


def _table(rows: Sequence[dict[str, Any]], precision: TargetPrecision) -> TextTable:
    cells = []
    for row in rows:
        counts = [row["samples"]["loss"]["median"], row["samples_mean_loss"]]
        counts += [row["samples"][kind]["median"] for kind in ("image", "covariance")]
        shown = ["-" if count is None else f"{count:,}" for count in counts]
        cells.append([row["augmentation"], *shown, f"{row['alignment']['R']:.1e}", f"{row['alignment']['A']:.2f}"])
    title = f"Samples for {100 * precision.error:g} % at {100 * precision.confidence:g} % confidence (median of images)"
    return TextTable(
        title, ["augmentation", "loss of an image", "mean loss", "mean image", "covariance", "R", "A"], cells
    )
