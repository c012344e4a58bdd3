"""Commands of version 0.1 that train, and so moved to `python -m studies`: they write a study and run it there."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

_CROPS = {"scale": 1.0, "aspect": 0.5, "translate_x": 0.25, "translate_y": 0.25}


def exchange_rate(
    path: str,
    folder: Path = Path("runs/exchange_rate"),
    policies: list[str] = ["flip_crop", "flip_crop+trivial_augment"],  # noqa: B006 - read only
    sizes: list[int] = [1000, 2000, 4000, 8000],  # noqa: B006
    reference_sizes: list[int] | None = None,
    frozen_views: list[int] = [],  # noqa: B006
    seeds: int = 3,
    training: dict[str, Any] = {},  # noqa: B006
    measurement: dict[str, Any] = {},  # noqa: B006
    workers: int = 1,
    threads: int = 1,
    confidence: float = 0.95,
    resamples: int = 1000,
    progress: bool = True,
) -> None:
    """Deprecated: write FOLDER/exchange_rate.yaml and run `python -m studies FOLDER/exchange_rate.yaml`.

    Args:
        path: The data: hub name, folder of parquet files, or image folder, see `ImageDataModule`.
        folder: Of the study: `exchange_rate.yaml`, `runs`, and `analysis` with the results.
        policies: Baselines joined by `+`, a policy file (`policy.json` of a run), or both, the file last.
        sizes: Training images of the augmented curves, at least three.
        reference_sizes: Those of the curve without augmentation; by default `sizes` and twice and four times the
            largest.
        frozen_views: Also train each policy with each image replaced by so many frozen views.
        seeds: Number of seeds.
        training: Fields of `studies.training.Training`.
        measurement: `val_size`, `influence_size`, `image_size`, `corruptions` and `severity`.
        workers: Processes that this call trains in.
        threads: CPU threads of each.
        confidence: Of the intervals, in (0, 1).
        resamples: Of the seeds, behind each interval.
        progress: Whether to show a progress bar.
    """
    largest = max(sizes, default=0)
    every = sorted({*sizes, *(reference_sizes or [*sizes, 2 * largest, 4 * largest])})
    arms: dict[str, Any] = {"none": {"policy": "none", "tasks": [str(n) for n in reference_sizes or every]}}
    for policy in policies:
        for views in (0, *frozen_views):
            frozen = f", {views} frozen view{'s' * (views > 1)}" if views else ""
            arm = {"policy": policy, "views": views, "tasks": [str(size) for size in sizes]}
            arms.setdefault(policy.replace("+", " + ") + frozen, arm)
    study = {
        "question": "How many real images is each policy worth?",
        "kind": "exchange_rate",
        "seeds": seeds,
        "report": {"confidence": confidence, "resamples": resamples},
        "common": {"path": _absolute(path), "training": training, **measurement},
        "tasks": {str(size): {"size": size} for size in every},
        "arms": arms,
    }
    _run("exchange_rate", study, folder, workers, threads, progress)


def class_effects(
    path: str,
    folder: Path = Path("runs/class_effects"),
    ops: list[str] | dict[str, float] = _CROPS,
    base: str = "flip_crop",
    strengths: list[float] = [0.05, 0.5, 1.0],  # noqa: B006 - read only
    size: int = 4000,
    seeds: int = 5,
    human_counts: Path | None = None,
    similarity: Path | None = None,
    classes: int = 2,
    weaker: str = "next",
    retrain: bool = True,
    damping: float = 0.1,
    thresholds: dict[str, float] = {},  # noqa: B006
    training: dict[str, Any] = {},  # noqa: B006
    measurement: dict[str, Any] = {},  # noqa: B006
    workers: int = 1,
    threads: int = 1,
    progress: bool = True,
) -> None:
    """Deprecated: write FOLDER/class_effects.yaml and run `python -m studies FOLDER/class_effects.yaml`.

    Args:
        path: The data: hub name, folder of parquet files, or image folder, see `ImageDataModule`.
        folder: Of the study: `class_effects.yaml`, `runs`, and `analysis` with the results.
        ops: Op names, or op names and their bounds; the policy is uniform over them.
        base: A fixed policy in front, `none` or baselines joined by `+`.
        strengths: Fractions of the bounds in (0, 1], increasing.
        size: Training images, balanced over the classes.
        seeds: Number of seeds, two or more.
        human_counts: Votes `[N, K]` of people on the test images, in their order, as an `.npy` file (CIFAR-10H).
        similarity: Semantic similarity `[K, K]` of the classes, in their order, as an `.npy` file.
        classes: Number of absorbing classes at most.
        weaker: Strength of absorbing classes, `next` or `fewest`.
        retrain: Whether to train with the class-conditional policy too.
        damping: Of the Hessian behind the prediction, times its mean eigenvalue.
        thresholds: `vote_share`, and fields of `analysis.class_effects.thresholds.Thresholds`.
        training: Fields of `studies.training.Training`.
        measurement: `val_size`, `influence_size` and `image_size`.
        workers: Processes that this call trains in.
        threads: CPU threads of each.
        progress: Whether to show a progress bar.
    """
    conditional = {"strengths": strengths, "weaker": weaker, "classes": classes, "seeds": seeds}
    votes: dict[str, Any] = {} if human_counts is None else {"human_counts": _absolute(human_counts)}
    votes |= {name: value for name, value in thresholds.items() if name == "vote_share"}
    study = {
        "question": "Which classes does a strong augmentation hurt?",
        "kind": "class_effects",
        "seeds": seeds,
        "report": {
            "thresholds": {name: value for name, value in thresholds.items() if name != "vote_share"},
            "similarity": None if similarity is None else _absolute(similarity),
        },
        "common": {
            "path": _absolute(path), "size": size, "ops": ops, "base": base, "damping": damping, "training": training,
            **votes, **measurement,
        },
        "arms": _strength_arms(strengths) | ({"class-conditional": {"conditional": conditional}} if retrain else {}),
    }  # fmt: skip
    _run("class_effects", study, folder, workers, threads, progress)


def _strength_arms(strengths: list[float]) -> dict[str, Any]:
    """Return an arm for each strength; the weakest predicts the harm of the others."""
    arms: dict[str, Any] = {f"strength {strength:g}": {"strength": strength} for strength in strengths}
    return arms | {name: {**arm, "predict": strengths[1:]} for name, arm in list(arms.items())[:1]}


def _run(name: str, study: dict[str, Any], folder: Path, workers: int, threads: int, progress: bool) -> None:
    """Write a study and run it in a process of its own.

    Raises:
        ValueError: If the studies are not there: they are part of the repository, not of the installed package.
        SystemExit: If the study fails.
    """
    if find_spec("studies") is None:
        raise ValueError(f"{name} trains classifiers: run `python -m studies {name}` in a clone of the repository.")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    command = ["-m", "studies", str(file), f"--folder={folder / 'runs'}", f"--output={folder / 'analysis'}"]
    command += [f"--workers={workers}", f"--threads={threads}", f"--progress={str(progress).lower()}"]
    print(
        f"DeprecationWarning: {name} moved to python {' '.join(command[:3])}; {file} holds its options.",
        file=sys.stderr,
    )
    code = subprocess.run([sys.executable, *command], check=False).returncode
    if code:
        raise SystemExit(code)


def _absolute(path: str | Path) -> str:
    """Return the absolute path of a file or folder; a hub name as it is."""
    return str(Path(path).resolve()) if Path(path).exists() else str(path)
