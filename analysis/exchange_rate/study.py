"""A study: the runs it needs, and what their results say about each policy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from .learning_curve import LearningCurve
from .rate import Rate, exchange_rates
from .run_cache import Result
from .setting import Measurement, Setting, Training

REFERENCE = "none"


@dataclass(frozen=True, order=True)
class Arm:
    """A policy, drawn anew in every epoch (`views` 0) or frozen into so many views of each image."""

    policy: str
    views: int = 0

    @property
    def name(self) -> str:
        """For tables and figures."""
        frozen = f", {self.views} frozen view{'s' * (self.views > 1)}"
        return self.policy.replace("+", " + ") + (frozen if self.views else "")


@dataclass(frozen=True)
class Study:
    """Curves of the reference and of each arm.

    Attributes:
        path: The data.
        arms: What is compared with the reference, which has no policy.
        sizes: Numbers of training images of the arms.
        reference_sizes: Those of the reference.
        seeds: Number of seeds.
        training: How all of them are trained.
        measurement: What accuracy is measured on.
    """

    path: str
    arms: Sequence[Arm]
    sizes: Sequence[int]
    reference_sizes: Sequence[int]
    seeds: int
    training: Training
    measurement: Measurement

    def __post_init__(self) -> None:
        for field in ("sizes", "reference_sizes"):
            if len(set(getattr(self, field))) < 3:
                raise ValueError(
                    f"{field}: a power law needs at least three sizes, found {list(getattr(self, field))}."
                )
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, found {self.seeds}; with one there are no intervals.")
        if not self.arms:
            raise ValueError("policies: give at least one to compare with no augmentation.")

    def settings(self) -> dict[tuple[Arm, int, int], Setting]:
        """The runs by (arm, size, seed): small training sets first, so that a curve is soon seen whole."""
        wanted = [(Arm(REFERENCE), size) for size in self.reference_sizes]
        wanted += [(arm, size) for arm in self.arms for size in self.sizes]
        return {
            (arm, size, seed): Setting(self.path, size, arm.policy, arm.views, seed, self.training, self.measurement)
            for seed in range(self.seeds)
            for arm, size in sorted(set(wanted), key=lambda pair: (pair[1], pair[0]))
        }

    def summarise(
        self, results: Mapping[tuple[Arm, int, int], Result], confidence: float = 0.95, draws: int = 1000
    ) -> dict[str, Any]:
        """Curves, fits and exchange rates of every arm.

        Args:
            results: By (arm, size, seed), as `settings` has them.
            confidence: Of the intervals.
            draws: Resamples behind each.

        Returns:
            `in_domain`, and `corrupted` (the mean over all corruptions) if there are any, each with `curves` (by arm)
            and `rates` (by arm but the reference); `corruptions`: accuracy by corruption, arm and size, means over
            the seeds. Plain values: what is infinite is None, with `infinite`, `low_infinite` or `high_infinite` true.
        """
        measures = {"in_domain": lambda result: result["accuracy"]}
        if self.measurement.corruptions:
            measures["corrupted"] = lambda result: fmean(result["corrupted"].values())
        summary: dict[str, Any] = {}
        for name, measure in measures.items():
            curves = self._curves({key: measure(result) for key, result in results.items()})
            reference = curves[Arm(REFERENCE)]
            summary[name] = {
                "curves": {arm.name: _curve_facts(curve) for arm, curve in curves.items()},
                "rates": {
                    arm.name: [_rate_facts(rate) for rate in exchange_rates(reference, curves[arm], confidence, draws)]
                    for arm in self.arms
                },
            }
        summary["corruptions"] = {
            name: {
                arm.name: _by_size({key: result["corrupted"][name] for key, result in results.items() if key[0] == arm})
                for arm in (Arm(REFERENCE), *self.arms)
            }
            for name in self.measurement.corruptions
        }
        return summary

    def _curves(self, accuracies: Mapping[tuple[Arm, int, int], float]) -> dict[Arm, LearningCurve]:
        curves: dict[Arm, LearningCurve] = {}
        for arm in (Arm(REFERENCE), *self.arms):
            sizes = self.reference_sizes if arm == Arm(REFERENCE) else self.sizes
            curves[arm] = LearningCurve(
                {size: [accuracies[arm, size, seed] for seed in range(self.seeds)] for size in sizes}
            )
        return curves


def _by_size(accuracies: Mapping[tuple[Arm, int, int], float]) -> dict[str, float]:
    sizes = sorted({size for _, size, _ in accuracies})
    return {str(size): fmean(value for key, value in accuracies.items() if key[1] == size) for size in sizes}


def _curve_facts(curve: LearningCurve) -> dict[str, Any]:
    fit = curve.fit()
    return {
        "sizes": curve.sizes,
        "accuracies": curve.values().tolist(),
        "fit": asdict(fit.law),
        "residual": fit.residual,
        "lack_of_fit": curve.lack_of_fit(),
    }


def _rate_facts(rate: Rate) -> dict[str, Any]:
    facts = asdict(rate)
    ends = {name: facts[name] for name in ("value", "low", "high")}
    finite = {name: None if end is None or math.isinf(end) else end for name, end in ends.items()}
    infinite = {name: end is not None and math.isinf(end) for name, end in ends.items()}
    return {
        **facts,
        **finite,
        "infinite": infinite["value"],
        "low_infinite": infinite["low"],
        "high_infinite": infinite["high"],
    }
