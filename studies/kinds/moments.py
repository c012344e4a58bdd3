"""Kind of study `moments`: samples that an estimate needs, measured by `python -m analysis moments` on a network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.commands.moments import moments
from analysis.moments.influence_estimates import ESTIMATES
from analysis.moments.moment_figures import influence_picture, samples_picture
from analysis.moments.sample_size import TargetPrecision
from analysis.results import read_result
from analysis.text_table import TextTable
from studies.data_location import data_path
from studies.engine import Cache, Kind, Page, Report, Result, Results, Setting, Study
from studies.kinds.fit import FitRun, run_folder


@dataclass(frozen=True, kw_only=True)
class MomentsRun(Setting):
    """An analysis of one network.

    Args:
        data: Data set, see `studies.data_location`.
        options: Of `train.py fit` for the network.
        images: Training images to measure on.
        views: Views where a policy cannot be enumerated.
        influence_images: Images that the expected influence is compared on.
    """

    data: str
    options: dict[str, Any] = field(default_factory=dict)
    images: int = 20
    views: int = 256
    influence_images: int = 6

    def run(self, cache: Cache) -> Result:
        """Train the network unless that was done, and analyze it.

        Returns:
            `settings` of the analysis, and `measured`, its result.
        """
        training = FitRun(config="cifar10.yaml", options=self.options, data=self.data, seed=self.seed)
        cache.obtain(training)
        folder = run_folder(cache, training)
        moments(
            folder,
            images=self.images,
            views=self.views,
            influence_images=self.influence_images,
            data_path=data_path(self.data),
        )
        written = read_result(folder, "moments") or {}
        return {"settings": written["settings"], "measured": written["result"]}


@dataclass(frozen=True)
class MomentsReport(Report):
    """Tables and pictures of the first run."""

    def page(self, study: Study, results: Results) -> Page:
        """Return the tables and the pictures."""
        result = next(iter(results.values()))
        settings, measured = result["settings"], result["measured"]
        epochs = measured["epochs"]
        head = (
            f"Medians over {settings['images']} training images of CIFAR-10, quartiles in brackets; WideResNet-16-1, "
            f"{epochs} epochs on 4,000 images."
        )
        precision = TargetPrecision(settings["error"], settings["confidence"])
        pictures = {
            "": samples_picture(measured["augmentations"], precision, epochs),
            "influence": influence_picture(measured["influence"]),
        }
        return Page([head, *(table.markdown() for table in tables(settings, measured))], pictures)


def tables(settings: Mapping[str, Any], measured: Mapping[str, Any]) -> list[TextTable]:
    """Return the tables of samples, of losses and of influence."""
    rows, error, confidence = measured["augmentations"], 100 * settings["error"], 100 * settings["confidence"]
    return [
        TextTable(
            f"Draws for a relative error of {error:g} % at {confidence:g} % confidence",
            ["augmentation", "loss of one image", "mean loss", "mean image", "covariance (order)", "R", "A"],
            [_samples(row) for row in rows],
        ),
        TextTable(
            "Expected loss, means over the images; first-order variance as a share of the true one, median",
            ["augmentation", "as it is", "all views", "mean image", "second order", "variance"],
            [_loss(row) for row in rows],
        ),
        TextTable(
            f"Expected influence: unexplained share of the change, {settings['influence_images']} images",
            ["policy", "strength", "mean image alone", "second order", "second order by steps"],
            [_influence(row) for row in measured["influence"]],
        ),
    ]


def _samples(row: Mapping[str, Any]) -> list[str]:
    loss, aligned = row["samples"]["loss"], row["alignment"]
    single = f"{_count(loss['median'])} ({_count(loss['low'])}-{_count(loss['high'])})"
    others = [row["samples_mean_loss"], *(row["samples"][kind]["median"] for kind in ("image", "covariance"))]
    return [row["augmentation"], single, *map(_count, others), f"{aligned['R']:.1e}", f"{aligned['A']:.2f}"]


def _loss(row: Mapping[str, Any]) -> list[str]:
    loss = row["loss"]
    numbers = [loss[name] for name in ("clean", "expected", "at_mean", "second_order", "first_order_variance_ratio")]
    return [row["augmentation"], *("-" if number is None else f"{number:.2f}" for number in numbers)]


def _influence(row: Mapping[str, Any]) -> list[str]:
    shares = [row["unexplained"][name] for name in ESTIMATES]
    return [row["family"], f"{row['strength']:g}", *("-" if share is None else f"{share:.2f}" for share in shares)]


def _count(count: int | None) -> str:
    """Return three digits, or that no number is enough."""
    return "none" if count is None else f"{float(f'{count:.3g}'):,.0f}"


KIND = Kind(MomentsRun, MomentsReport)
