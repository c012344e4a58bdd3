"""Exact moments of network outputs over the views of an image: the reference for all approximations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .network import Function
from .weighted_views import WeightedViews

_CHUNK = 512


class Distribution(NamedTuple):
    """Mean and variance of a number under a policy."""

    mean: float
    variance: float


def distribution(values: Tensor, weights: Tensor) -> Distribution:
    """Return the distribution of values `[K]` with weights `[K]` of sum 1; in float64."""
    values, weights = values.double(), weights.double()
    mean = (weights * values).sum()
    return Distribution(float(mean), float((weights * (values - mean).square()).sum()))


@torch.no_grad()
def outputs_of(function: Function, views: WeightedViews) -> Tensor:
    """Return the function of all views, `[K, ...]`."""
    return torch.cat([function(part) for part in views.images.split(_CHUNK)])


def losses_of(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy `[K]` of logits `[K, classes]` with one target `[classes]` or one for each."""
    return -(target * logits.log_softmax(dim=1)).sum(dim=1)
