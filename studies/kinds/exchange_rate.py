"""Studies of exchange rates: the worth of policies in real images (Geiping et al., 2023; docs/method.md).

A task is a number of training images, an arm is a policy; the arm `none` is the reference.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, cast

import pytorch_lightning as pl

from analysis.exchange_rate import LearningCurve, summarize_worth
from analysis.exchange_rate.worth_figures import plot_curves, plot_rates
from analysis.exchange_rate.worth_tables import notes, worth_tables
from augnet.baselines import make_baseline
from lightning_modules.data import ImageDataModule, InfluenceDataModule
from lightning_modules.learner.checks import require_at_least
from studies.corruptions import check_corruptions, corrupted_copy
from studies.engine import Cache, Kind, Page, Report, Result, Results, Setting, Study
from studies.fixed_policy import FixedPolicyRun, augmentation, split_policy
from studies.frozen_views import FrozenViews
from studies.training import accuracy_of

REFERENCE = "none"
_LEAST_SIZES = 3  # a power law has three numbers


@dataclass(frozen=True, kw_only=True)
class PolicyRun(FixedPolicyRun):
    """One classifier on a subset, behind a policy, measured on the validation split; the test split is not read.

    Args:
        policy: `none`, baselines joined by `+`, or a policy file (`.json`), alone or behind baselines and a `+`.
        views: Frozen augmented views that replace each image; 0 draws anew in every epoch.
        corruptions: Names from `studies.corruptions.CORRUPTIONS`.
        severity: Of the corruptions, 1 to 5.
    """

    policy: str = REFERENCE
    views: int = 0
    corruptions: list[str] = field(default_factory=list)
    severity: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, views=self.views)
        base, file = split_policy(self.policy)
        if base != "none":
            make_baseline(base)
        if self.views:
            if (base, file) == ("none", None):
                raise ValueError("views: without a policy all views of an image are the image; leave views out.")
            augmentation(base, file)
        check_corruptions(self.corruptions, self.severity)

    def content(self) -> dict[str, Any]:
        """Return all fields, with the content of a policy file in place of its name."""
        base, file = split_policy(self.policy)
        if file is None:
            return asdict(self)
        hashes = [hashlib.sha256(part.read_bytes()).hexdigest() for part in (file, file.with_suffix(".safetensors"))]
        return {**asdict(self), "policy": [base, *hashes]}

    def run(self, cache: Cache) -> Result:
        """Train, and return `accuracy`, `corrupted` (by name), `train_loss` of the last epoch, and `seconds`."""
        started = time.perf_counter()
        pl.seed_everything(self.run_seed, verbose=False)
        data = self._load()
        check_corruptions(self.corruptions, self.severity, data.in_channels)
        trainer, model = self.fit(data, *(("none", None) if self.views else split_policy(self.policy)))
        train_loss = float(trainer.callback_metrics["train/loss"])  # predicting clears it
        validation = data.splits.validation
        return {
            "accuracy": accuracy_of(trainer, model, validation),
            "corrupted": {
                name: accuracy_of(trainer, model, corrupted_copy(validation, name, self.severity, self.run_seed))
                for name in self.corruptions
            },
            "train_loss": train_loss,
            "seconds": round(time.perf_counter() - started, 2),
        }

    def _load(self) -> InfluenceDataModule:
        if self.views == 0:
            return ImageDataModule(**self.data_arguments())
        return FrozenViews(augment=augmentation(*split_policy(self.policy)), views=self.views, **self.data_arguments())


@dataclass(frozen=True)
class WorthReport(Report):
    """Learning curves and exchange rates.

    Args:
        confidence: Of the intervals, in (0, 1).
        resamples: Of the seeds, behind each interval.
    """

    confidence: float = 0.95
    resamples: int = 1000

    def check(self, study: Study) -> None:
        """Raise ValueError if there is no reference, or an arm has too few sizes for a power law."""
        if not (0 < self.confidence < 1 and self.resamples >= 1):
            raise ValueError(
                f"expected confidence in (0, 1) and resamples >= 1, found {self.confidence} and {self.resamples}."
            )
        if REFERENCE not in study.arms:
            raise ValueError(f"arms: expected the reference {REFERENCE!r}, found {', '.join(study.arms)}.")
        for arm, sizes in _sizes(study).items():
            if len(set(sizes)) < _LEAST_SIZES:
                raise ValueError(f"arm {arm!r}: a power law needs at least three sizes, found {sorted(set(sizes))}.")

    def page(self, study: Study, results: Results) -> Page:
        """Return tables, notes and figures over the seeds that all arms and sizes have."""
        seeds = [seed for seed in range(study.seeds) if all(c in results for c in study.settings() if c.seed == seed)]
        if not seeds:
            return Page(["No seed is complete yet."])
        found = {(c.arm, _size(study, c.task, c.arm), c.seed): run for c, run in results.items() if c.seed in seeds}
        summary = self._summarize(study, found, seeds)
        tables = [table.markdown() for table in worth_tables(summary)]
        pictures = {"": plot_rates(summary), "curves": plot_curves(summary)}
        return Page([_first(study).training.describe(), *tables, *notes(summary)], pictures, summary)

    def _summarize(
        self, study: Study, found: Mapping[tuple[str, int, int], Result], seeds: list[int]
    ) -> dict[str, Any]:
        corruptions = _first(study).corruptions
        measures: dict[str, Callable[[Result], float]] = {"in_domain": lambda run: float(run["accuracy"])}
        if corruptions:
            measures["corrupted"] = lambda run: fmean(run["corrupted"].values())

        def curves(measure: Callable[[Result], float]) -> dict[str, LearningCurve]:
            return {
                arm: LearningCurve({size: [measure(found[arm, size, seed]) for seed in seeds] for size in sizes})
                for arm, sizes in _sizes(study).items()
            }

        summary: dict[str, Any] = {
            name: summarize_worth(curves(measure), REFERENCE, self.confidence, self.resamples)
            for name, measure in measures.items()
        }
        by_corruption = {name: curves(lambda run, name=name: run["corrupted"][name]) for name in corruptions}  # type: ignore[misc]
        summary["corruptions"] = {
            name: {
                arm: dict(zip(map(str, curve.sizes), curve.means().tolist(), strict=True))
                for arm, curve in arms.items()
            }
            for name, arms in by_corruption.items()
        }
        return summary


def _under(corruption: str) -> Callable[[Result], float]:
    return lambda run: float(run["corrupted"][corruption])


def _by_size(curves: Mapping[str, LearningCurve]) -> dict[str, dict[str, float]]:
    """Return the mean accuracies by arm and size."""
    return {arm: dict(zip(map(str, curve.sizes), curve.means().tolist(), strict=True)) for arm, curve in curves.items()}


def _sizes(study: Study) -> dict[str, list[int]]:
    """Return the sizes of each arm."""
    return {name: [_size(study, task, name) for task in arm.tasks or study.tasks] for name, arm in study.arms.items()}


def _size(study: Study, task: str, arm: str) -> int:
    return cast(PolicyRun, study.setting(task, arm)).size


def _first(study: Study) -> PolicyRun:
    return cast(PolicyRun, next(iter(study.settings().values())))


KIND = Kind(cast(type[Setting], PolicyRun), WorthReport)
