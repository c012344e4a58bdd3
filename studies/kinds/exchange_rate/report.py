"""The page of a study of exchange rates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, cast

from analysis.exchange_rate import LearningCurve, summarize_worth
from analysis.exchange_rate.worth_tables import notes, worth_tables
from studies.engine import Page, Report, Result, Results, Study
from studies.kinds.exchange_rate.pictures import plot_curves, plot_rates
from studies.kinds.exchange_rate.run import REFERENCE, PolicyRun

_LEAST_SIZES = 3  # a power law has three numbers


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
        summary["corruptions"] = {name: _by_size(curves(_under(name))) for name in corruptions}
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
