"""Measurements of one augmentation on one example, and their summary over examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import torch

from .augmentations import Augmentation, Budget, Example
from .factored import Alignment, alignment
from .network import Function, LossMoments, loss_gradient, loss_moments
from .sample_size import TargetPrecision, samples_for_covariance, samples_for_image, samples_for_mean
from .weighted_views import Distribution, distribution, losses_of, outputs_of


@dataclass(frozen=True)
class Measured:
    """Measurements of one augmentation on one example."""

    rule: str  # by which its views were chosen
    loss: Distribution  # of all views; exact up to that rule
    clean: float  # loss of the example as it is
    estimate: LossMoments  # from the moments of the image
    samples: dict[str, int | None]  # draws by kind of estimate; None: no count is enough
    spread: float  # sqrt(tr Sigma) / ||mu||
    rank: float  # effective rank of Sigma
    aligned: Alignment  # of the gradient of the loss with Sigma


@torch.no_grad()
def measure(
    function: Function, augmentation: Augmentation, example: Example, budget: Budget, precision: TargetPrecision
) -> Measured:
    """Measure one augmentation on one example, of a classifier from images to logits in evaluation mode."""
    views = augmentation(example, budget)
    moments, target = views.moments, example.targets[0]
    targets = target if views.targets is None else views.targets
    loss = distribution(losses_of(outputs_of(function, views), targets), views.weights)
    expected_target = target if views.targets is None else views.weights @ views.targets
    trace, size = float(moments.trace), float(moments.mean.square().sum())
    return Measured(
        rule=views.rule,
        loss=loss,
        clean=float(losses_of(function(example.images[:1]), target)),
        estimate=loss_moments(function, moments, expected_target),
        samples={
            "loss": samples_for_mean(loss, precision),
            "chebyshev": samples_for_mean(loss, precision, "chebyshev"),
            "image": samples_for_image(moments, precision),
            "covariance": samples_for_covariance(moments, precision),
        },
        spread=(trace / size) ** 0.5 if size > 0 else 0.0,
        rank=moments.effective_rank(),
        aligned=alignment(moments, loss_gradient(function, moments.mean, expected_target)),
    )


def summarize(name: str, rows: Sequence[Measured], precision: TargetPrecision) -> dict[str, Any]:
    """Summarize one augmentation over its measurements on one example or more, as plain values."""
    mean_loss = fmean(row.loss.mean for row in rows)
    # draws of each image until the mean loss over these images is right
    whole = Distribution(mean_loss, fmean(row.loss.variance for row in rows) / len(rows))
    variances = [float(row.estimate.variance) / row.loss.variance for row in rows if row.loss.variance > 0]
    return {
        "augmentation": name,
        "rule": rows[0].rule,
        "images": len(rows),
        "samples": {kind: _quartiles([row.samples[kind] for row in rows]) for kind in rows[0].samples},
        "samples_mean_loss": samples_for_mean(whole, precision),
        "spread": median(row.spread for row in rows),
        "effective_rank": median(row.rank for row in rows),
        "alignment": {"R": median(row.aligned.worst for row in rows), "A": median(row.aligned.random for row in rows)},
        "loss": {
            "clean": fmean(row.clean for row in rows),
            "expected": mean_loss,
            "at_mean": fmean(float(row.estimate.at_mean) for row in rows),
            "second_order": fmean(float(row.estimate.gauss_newton) for row in rows),
            "deviation": fmean(row.loss.variance**0.5 for row in rows),
            "first_order_variance_ratio": median(variances) if variances else None,
        },
    }


def _quartiles(counts: Sequence[int | None]) -> dict[str, int | None]:
    """Return median and quartiles; None (no count is enough) ranks above all numbers."""
    ordered = sorted(float("inf") if count is None else float(count) for count in counts)
    places = {"low": 0.25, "median": 0.5, "high": 0.75}
    picked = {name: ordered[round(share * (len(ordered) - 1))] for name, share in places.items()}
    return {name: None if value == float("inf") else int(value) for name, value in picked.items()}
