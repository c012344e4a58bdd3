"""The command `python -m analysis class_effects`."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..exchange_rate.run_cache import Result, RunCache
from ..exchange_rate.setting import Measurement, Setting, Training
from ..exchange_rate.sweep import sweep
from ..exchange_rate.training import data_of
from ..result_files import write_result
from .figures import agreement_picture, class_picture
from .metrics import Floats, Truth
from .observation import train_and_observe
from .outcome import find_out, summarise, truths_of
from .pairs import check_similarity
from .study import Study, Weaker
from .tables import grids, recipe_text
from .thresholds import Thresholds

CROPS = {"scale": 1.0, "aspect": 0.5, "translate_x": 0.25, "translate_y": 0.25}  # about a random resized crop


def class_effects(
    path: str,
    folder: Path = Path("runs/class_effects"),
    ops: list[str] | dict[str, float] = CROPS,
    base: str = "flip_crop",
    strengths: list[float] = [0.05, 0.5, 1.0],  # noqa: B006 - read only
    size: int = 4000,
    seeds: int = 5,
    human_counts: Path | None = None,
    similarity: Path | None = None,
    classes: int = 2,
    weaker: Weaker = "next",
    retrain: bool = True,
    damping: float = 0.1,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
    training: Training = Training(),  # noqa: B008
    measurement: Measurement = Measurement(),  # noqa: B008
    workers: int = 1,
    threads: int = 1,
    progress: bool = True,
) -> None:
    """Which classes a strong augmentation hurts, whether that could be predicted, and what to do about it.

    Trains classifiers with one policy at several strengths and seeds. Reports accuracy by class, by the label of an
    image and by all answers that people give; the classes that lose and those that absorb others; the confusions that
    grow (Kirichenko et al., 2023). Writes FOLDER/class_conditional_policy.json, in which absorbing classes have a
    weaker strength, for `train.py fit --model.policy_file`. Predicts the harm to each class from the weakest runs
    alone. Every run is kept in FOLDER/runs: a second call trains nothing, and one that was killed goes on. The classes
    of the policy are chosen on the validation split; the test split reports.

    Args:
        path: The data: hub name, folder of parquet files, or image folder, see `ImageDataModule`.
        folder: Of the study. Calls with other arguments share its runs; the policy and `analysis` are of the last.
        ops: Op names, or op names and their bounds; the policy is uniform over them.
        base: A fixed policy in front, `none` or baselines joined by `+`.
        strengths: Fractions of the bounds in (0, 1], increasing; for as good as none take 0.01.
        size: Training images, balanced over the classes.
        seeds: Number of seeds, two or more; with few, only large effects are significant.
        human_counts: Votes `[N, K]` of people on the test images, in their order, as an `.npy` file (CIFAR-10H).
        similarity: Similarity of meaning `[K, K]` of the classes, in their order, as an `.npy` file; by default the
            cosine between the class means in the features of the weakest runs.
        classes: How many classes the policy is weakened for, and how many of those that lose most are followed.
        weaker: What absorbing classes get: the `next` strength below the strongest, or that with the `fewest` false
            positives, which lets a network know the class by how little it is augmented.
        retrain: Whether to train with the class-conditional policy too.
        damping: Of the Hessian behind the prediction, times its mean eigenvalue.
        thresholds: Where lines are drawn.
        training: How all classifiers are trained.
        measurement: The splits.
        workers: Processes that this call trains in.
        threads: CPU threads of each.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If an argument makes no sense.
        FileNotFoundError: If a file is missing.
    """
    study = Study(path, folder, ops, base, strengths, size, seeds, training, measurement)
    cache = RunCache(folder / "runs")
    votes, nearness = _read_matrix(human_counts, "human_counts"), _read_matrix(similarity, "similarity")
    if not (classes >= 1 and damping > 0):
        raise ValueError(f"expected classes >= 1 and damping > 0, found {classes} and {damping}.")
    _check_data(study, cache, votes, nearness, thresholds)

    def train(settings: list[Setting]) -> list[Result]:
        observe = partial(train_and_observe, weights=study.weights)
        return sweep(settings, cache, workers, threads, show_progress=progress, train=observe)

    outcome = find_out(study, train, classes, weaker, damping, retrain, progress)
    result = summarise(outcome, study, votes, nearness, thresholds)
    asked = {**asdict(study), "folder": str(folder), "classes": classes, "weaker": weaker, "damping": damping}
    asked |= {"thresholds": asdict(thresholds), "votes": votes is not None}
    figures = {"classes": class_picture(result), "prediction": agreement_picture(result)}
    files = write_result(folder, "class_effects", result, settings=asked, seed=0, figures=figures)
    _say(result, [*([] if outcome.policy_file is None else [outcome.policy_file]), *files])


def _say(result: dict[str, Any], files: list[Path]) -> None:
    console = Console()
    for grid in grids(result):
        console.print(grid.rich())
    console.print(recipe_text(result["recipe"]))
    for file in files:
        console.print(f"Written: {file}", soft_wrap=True)


def _read_matrix(file: Path | None, field: str) -> Floats | None:
    """A matrix of finite numbers from an `.npy` file, if one is named; nothing is unpickled."""
    if file is None:
        return None
    if not file.is_file():
        raise FileNotFoundError(f"{field}: there is no file {file}.")
    try:
        matrix = np.asarray(np.load(file, allow_pickle=False), dtype=np.float64)
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{field}: {file} is no .npy file of numbers ({error}).") from error
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"{field}: expected a matrix of finite numbers in {file}, found {list(matrix.shape)}.")
    return matrix


def _check_data(
    study: Study, cache: RunCache, votes: Floats | None, similarity: Floats | None, thresholds: Thresholds
) -> None:
    """Raise ValueError before anything is trained if the files are of something else, or a class is missing."""
    settings = list(study.settings().values())
    if all(cache.has(setting) for setting in settings):
        return
    data = data_of(settings[0])
    if similarity is not None:
        check_similarity(similarity, data.num_classes)
    Truth.single(data.splits.validation.labels, data.num_classes)
    truths_of(data.splits.load_test().labels, votes, data.num_classes, thresholds.vote_share)
