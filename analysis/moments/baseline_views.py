"""All views of an image under fixed policies with finitely many outcomes, each with its probability.

A function returns None for too many views to pass through a network.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from augnet.baselines import AutoAugment, Cutout, FlipCrop, RandAugment, TrivialAugment
from augnet.baselines.auto_augment import OP_PAIRS
from augnet.classic import AUTO, CLASSIC_OPS, RAND, RAND_OPS, TRIVIAL, apply_classic, table
from augnet.space import TransformSpace

from .weighted_views import WeightedViews

_MOST = 4096
_IN_A_BATCH = 1024


def views_by_rows(
    apply: Callable[[Tensor, Tensor], Tensor], image: Tensor, rows: Tensor, weights: Tensor
) -> WeightedViews:
    """Return the views by rows of magnitudes; equal rows are one view."""
    rows, weights = _merged(rows, weights)
    images = [apply(image.repeat(len(part), 1, 1, 1), part) for part in rows.split(_IN_A_BATCH)]
    return WeightedViews(torch.cat(images), weights.to(image), "enumeration")


def _merged(rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different rows with the sum of their weights, of sum 1; rows of weight 0 are left out."""
    unique, places = rows.unique(dim=0, return_inverse=True)
    total = weights.new_zeros(len(unique)).index_add_(0, places, weights)
    kept = total > 0
    return unique[kept], total[kept] / total.sum()


def _trivial(policy: TrivialAugment, image: Tensor) -> WeightedViews:
    rows = table(TRIVIAL, RAND_OPS, *image.shape[1:]).flatten(0, 2).to(image)
    return views_by_rows(apply_classic, image, rows, torch.full((len(rows),), 1 / len(rows), dtype=torch.float64))


def _rounds(image: Tensor, weights: Tensor, chains: list[Tensor]) -> WeightedViews:
    """Return the views of chains of rows, `[R, P]` for each round, of given probabilities `[R]`."""
    images = image.repeat(len(weights), 1, 1, 1)
    for rows in chains:
        images = torch.cat(
            [apply_classic(*part) for part in zip(images.split(_IN_A_BATCH), rows.split(_IN_A_BATCH), strict=True)]
        )
    return WeightedViews(images, weights.to(image), "enumeration")


def _rand(policy: RandAugment, image: Tensor) -> WeightedViews | None:
    rows = table(RAND, RAND_OPS, *image.shape[1:])[:, policy.magnitude].flatten(0, 1).to(image)
    rows, times = rows.unique(dim=0, return_counts=True)
    if len(rows) ** policy.rounds > _MOST:
        return None
    chains = torch.cartesian_prod(*[torch.arange(len(rows))] * policy.rounds).view(-1, policy.rounds)
    weights = (times / times.sum())[chains].double().prod(dim=1)
    return _rounds(image, weights, [rows[chains[:, step]] for step in range(policy.rounds)])


def _auto(policy: AutoAugment, image: Tensor) -> WeightedViews:
    """Enumerate 25 pairs, each op on or off, each sign."""
    rows = table(AUTO, CLASSIC_OPS, *image.shape[1:]).to(image)
    first, second, weights = [], [], []
    for (one, own, strong), (other, its, stronger) in OP_PAIRS:
        for sign, its_sign, on, its_on in product((0, 1), repeat=4):
            first.append(on * rows[CLASSIC_OPS.index(one), strong, sign])
            second.append(its_on * rows[CLASSIC_OPS.index(other), stronger, its_sign])
            weights.append((own if on else 1 - own) * (its if its_on else 1 - its))
    both = torch.cat([torch.stack(first), torch.stack(second)], dim=1)
    both, chances = _merged(both, torch.tensor(weights, dtype=torch.float64, device=both.device))
    return _rounds(image, chances, list(both.chunk(2, dim=1)))


def _flip_crop(policy: FlipCrop, image: Tensor) -> WeightedViews | None:
    height, width = image.shape[1:]
    down, across = (round(policy.padding * side) for side in (height, width))
    if 2 * (2 * down + 1) * (2 * across + 1) > _MOST:
        return None
    padded = F.pad(image, (across, across, down, down))
    crops = padded.unfold(1, height, 1).unfold(2, width, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
    weights = torch.tensor([1 - policy.flip, policy.flip], dtype=torch.float64).repeat_interleave(len(crops))
    images, kept = torch.cat([crops, crops.flip(-1)]), weights > 0
    return WeightedViews(images[kept], (weights[kept] / len(crops)).to(image), "enumeration")


def _cutout(policy: Cutout, image: Tensor) -> WeightedViews | None:
    height, width = image.shape[1:]
    if height * width > _MOST:
        return None
    size = image.new_tensor([width, height])
    centers = torch.cartesian_prod(torch.arange(width), torch.arange(height)).to(image) / size
    space: TransformSpace = policy.space
    magnitudes = image.new_full((len(centers), 1), policy.side)
    images = space.apply(image.repeat(len(centers), 1, 1, 1), magnitudes, {"cutout": centers})
    return WeightedViews(images, image.new_full((len(centers),), 1 / len(centers)), "enumeration")


ENUMERATED: dict[type, Callable[[Any, Tensor], WeightedViews | None]] = {
    TrivialAugment: _trivial,
    RandAugment: _rand,
    AutoAugment: _auto,
    FlipCrop: _flip_crop,
    Cutout: _cutout,
}
