"""The command `python -m analysis exchange_rate`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..result_files import write_result
from .corruptions import check_corruptions
from .figures import plot_curves, plot_rates
from .run_cache import RunCache
from .setting import Measurement, Setting, Training
from .study import Arm, Study
from .sweep import Scheduler, sweep
from .tables import grids, notes
from .training import data_of


def exchange_rate_study(
    path: str,
    folder: str = "runs/exchange_rate",
    policies: list[str] = ["flip_crop", "flip_crop+trivial_augment"],  # noqa: B006 - read only
    sizes: list[int] = [1000, 2000, 4000, 8000],  # noqa: B006
    reference_sizes: list[int] | None = None,
    frozen_views: list[int] = [],  # noqa: B006
    seeds: int = 3,
    training: Training = Training(),  # noqa: B008 - frozen
    measurement: Measurement = Measurement(),  # noqa: B008
    workers: int = 1,
    threads: int = 1,
    scheduler: Scheduler = "local",
    stale_after: float = 300.0,
    confidence: float = 0.95,
    resamples: int = 1000,
    progress: bool = True,
) -> None:
    """How many more real images would be worth as much as an augmentation policy (Geiping et al., 2023).

    Trains classifiers with and without each policy on subsets of the data, fits a power law to each curve and reports
    `v(x) = f_ref^-1(f_aug(x)) - x`. Every run is kept in `folder/runs`: a second call is free, and one that was
    killed goes on. Start the command several times, also on several machines that share the folder, and they share
    the work. Accuracy is that on the validation split; the test split stays sealed.

    Args:
        path: The data: hub name, folder of parquet files, or image folder, see `ImageDataModule`.
        folder: Of the study: `runs`, and `analysis/exchange_rate.json` with its pictures.
        policies: What is compared with no augmentation: baselines joined by `+`, a policy file (`policy.json` of a
            run), or both, the file last.
        sizes: Training images of the augmented curves, at least three.
        reference_sizes: Those of the curve without augmentation; by default `sizes` and twice and four times the
            largest. What lies above them is extrapolated.
        frozen_views: Also train each policy with each image replaced by so many frozen views, for instance [1, 2, 4].
        seeds: Number of seeds; data, initial weights and order change with them.
        training: How all classifiers are trained.
        measurement: What accuracy is measured on.
        workers: Processes that this call trains in.
        threads: CPU threads of each.
        scheduler: `local` processes, or `ray` tasks on the cluster that `RAY_ADDRESS` names, by default one started
            here; then `path` and `folder` must be absolute, the same on all its machines.
        stale_after: Seconds until the lock of a worker that shows no sign of life is taken over.
        confidence: Of the intervals, in (0, 1).
        resamples: Of the seeds, behind each interval.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If an argument makes no sense.
        FileNotFoundError: If there is no such policy file.
    """
    if not (0 < confidence < 1 and resamples >= 1 and stale_after > 0):
        raise ValueError(
            f"expected confidence in (0, 1), resamples >= 1 and stale_after > 0, found {confidence}, {resamples} and "
            f"{stale_after}."
        )
    check_corruptions(measurement.corruptions, measurement.severity)
    arms = [Arm(policy, views) for policy in policies for views in (0, *frozen_views)]
    largest = max(sizes, default=0)
    study = Study(
        path, arms, sizes, reference_sizes or [*sizes, 2 * largest, 4 * largest], seeds, training, measurement
    )
    settings = study.settings()
    cache = RunCache(Path(folder).resolve() / "runs", stale_after)
    _check_data(settings.values(), cache)
    results = sweep(list(settings.values()), cache, workers, threads, scheduler, progress)
    summary = study.summarise(dict(zip(settings, results, strict=True)), confidence, resamples)
    asked = {**asdict(study), "confidence": confidence, "resamples": resamples}
    figures = {"curves": plot_curves(summary), "rates": plot_rates(summary)}
    files = write_result(folder, "exchange_rate", summary, settings=asked, seed=0, figures=figures)
    _show(summary, files)


def _check_data(settings: Iterable[Setting], cache: RunCache) -> None:
    """Raise ValueError before anything is trained if images are too few, or cannot be corrupted like that."""
    missing = [setting for setting in settings if not cache.has(setting)]
    if missing:
        largest = max(missing, key=lambda setting: setting.size)
        data, asked = data_of(replace(largest, policy="none", views=0)), largest.measurement
        check_corruptions(asked.corruptions, asked.severity, data.in_channels)


def _show(summary: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Print the rates, what must be read with them, and where the files are."""
    console = Console()
    for grid in grids(summary):
        console.print(grid.rich())
    for note in notes(summary):
        console.print(f"Note: {note}")
    for file in files:
        console.print(f"Written: {file}", soft_wrap=True)
