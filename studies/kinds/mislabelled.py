"""Kind of study `mislabelled`: flipped training labels that are found by the scores of `train.py attribute`."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from studies.commands import call
from studies.data_location import data_path
from studies.engine import Cache, Kind, Page, Result, Results, Setting, Study, TableReport, by_arm
from studies.kinds.fit import FitRun, checkpoint, run_folder
from studies.label_noise import CHECKED, FlippedImages, ranking_quality

_INFLUENCE_SIZE = 400


@dataclass(frozen=True, kw_only=True)
class AttributionRun(Setting):
    """Scores of the training images of a network, in `attribution.csv` in its folder.

    Args:
        data: Data set, see `studies.data_location`.
        train_size: Training images.
        flip_share: Share of their labels that is flipped.
        options: Further options of `train.py fit`.
        views: Shifted views of each image that scores average over; 0 takes the image as it is.
    """

    data: str
    train_size: int
    flip_share: float = 0.05
    options: dict[str, Any] = field(default_factory=dict)
    views: int = 8

    def run(self, cache: Cache) -> Result:
        """Train unless that was done, and score.

        Returns:
            `val_accuracy`; `clean_labels_fitted` and `flipped_labels_fitted`, the shares of the training images with
            right and with wrong labels that the network gives their label.
        """
        training = self.training
        cache.obtain(training)
        options = {"ckpt_path": checkpoint(cache, training), "folder": cache.files(self), "views": self.views}
        call("attribute", run_folder(cache, training) / "config.yaml", options)
        fitted, flipped = self.column(cache, "margin") > 0, self.flipped()
        with (run_folder(cache, training) / "metrics.csv").open(newline="") as file:
            accuracies = [float(row["val/acc"]) for row in csv.DictReader(file) if row.get("val/acc")]
        return {
            "val_accuracy": accuracies[-1],
            "clean_labels_fitted": float(fitted[~flipped].double().mean()),
            "flipped_labels_fitted": float(fitted[flipped].double().mean()),
        }

    @property
    def training(self) -> FitRun:
        """The training of the network."""
        data = {"data": "studies.label_noise.FlippedImages", "data.flip_share": self.flip_share}
        sizes = {"data.train_size": self.train_size, "data.influence_size": _INFLUENCE_SIZE}
        options = {**data, **sizes, **self.options, "run.test": False}
        return FitRun(config="cifar10.yaml", options=options, data=self.data, seed=self.seed)

    def column(self, cache: Cache, name: str) -> Tensor:
        """Return a column of the scores, `[N]`."""
        with (cache.files(self) / "attribution.csv").open(newline="") as file:
            return torch.tensor([float(row[name]) for row in csv.DictReader(file)])

    def flipped(self) -> Tensor:
        """Return whether each training label is wrong, `[N]` bool."""
        sizes = {"train_size": self.train_size, "influence_size": _INFLUENCE_SIZE}
        return FlippedImages(data_path(self.data), self.flip_share, **sizes, seed=self.seed).flipped()


@dataclass(frozen=True, kw_only=True)
class ScoreRun(AttributionRun):
    """One score as a ranking of the training images.

    Args:
        score: Column of `attribution.csv`.
        worst: Whether `high` or `low` values are suspect.
    """

    score: str
    worst: Literal["high", "low"] = "high"

    def run(self, cache: Cache) -> Result:
        """Rank the images.

        Returns:
            What `ranking_quality` and `AttributionRun.run` return.
        """
        scores = self.scores
        facts = cache.obtain(scores)
        sign = 1 if self.worst == "high" else -1
        found = ranking_quality(sign * scores.column(cache, self.score), self.flipped())
        return {**{name: value for name, value in facts.items() if name != "made"}, **found}

    @property
    def scores(self) -> AttributionRun:
        """The scores of all columns."""
        names = ("data", "train_size", "flip_share", "options", "views", "seed")
        return AttributionRun(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class MislabelledReport(TableReport):
    """The tables, and precision against recall.

    Args:
        highlighted: Arms that the picture shows with wide lines.
    """

    highlighted: list[str] = field(default_factory=list)

    def page(self, study: Study, results: Results) -> Page:
        """Return the tables and the picture."""
        return replace(super().page(study, results), pictures={"pr": self._picture(study, results)})

    def _picture(self, study: Study, results: Results) -> Figure:
        """Return a panel for each task; a dot marks where 5 % are checked."""
        figure = Figure(figsize=(11, 4.8), layout="constrained")
        panels = figure.subplots(1, len(study.tasks), sharey=True, squeeze=False)[0]
        for panel, task in zip(panels, study.tasks, strict=True):
            arms = by_arm(study, results, task)
            for index, (arm, runs) in enumerate(arms.items()):
                _draw(panel, arm, runs, f"C{index}", 2.2 if arm in self.highlighted else 1.0)
            panel.axhline(CHECKED, color="0.6", linewidth=0.8, linestyle=":", label="chance")
            panel.set(title=task, xlabel="recall of the flipped labels", xlim=(0, 1), ylim=(0, 1.02))
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("precision")
        panels[-1].legend(frameon=False, fontsize=8, loc="upper right")
        return figure


def _draw(panel: Axes, arm: str, runs: Mapping[int, Result], color: str, width: float) -> None:
    """Draw the mean curve of an arm over its seeds."""
    curve = torch.tensor([run["curve"] for run in runs.values()]).mean(dim=0)
    panel.plot(curve[:, 2], curve[:, 1], color=color, linewidth=width, label=arm)
    recall = fmean(run["recall"] for run in runs.values())
    panel.plot(recall, recall, "o", color=color, markersize=5)  # as many are checked as are flipped


KIND = Kind(ScoreRun, MislabelledReport)
