"""Weighted views of one image under any policy of `augnet`.

They give mean and covariance of the image and, passed through a network, of any output and of the loss; clamping and
rounding are included. A policy of `augnet` is a function of uniform random numbers, so its views are a quadrature over
a unit cube; policies with finitely many outcomes are enumerated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from augnet import AugNet, MixturePolicy
from augnet.baselines import Baseline

from .baseline_views import ENUMERATED, views_by_rows
from .weighted_views import WeightedViews, cube, random_views


def views_of(
    policy: AugNet[Any, Any] | Baseline, image: Tensor, label: Tensor | None = None, count: int = 512, seed: int = 0
) -> WeightedViews:
    """Return the views of an image under a policy.

    Args:
        policy: A learned policy with its space, or a fixed one; its mode does not matter. None that mixes images: see
            `mixed_views`.
        image: `[C, H, W]` in [0, 1].
        label: int64 scalar, for policies that depend on it.
        count: Views, >= 1, where they cannot be enumerated; a grid of two numbers has the largest square below it.
        seed: Of quasi-random and random ones.

    Raises:
        ValueError: If the policy mixes images, `count` is out of range, or such an image cannot be augmented.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, found {count}.")
    if isinstance(policy, AugNet):
        if policy.space.mixes:
            raise ValueError("this policy mixes images: take mixed_views.")
        return _learned(policy, image, label, count, seed)
    enumerate_all = ENUMERATED.get(type(policy))
    views = None if enumerate_all is None else enumerate_all(policy, image)
    return random_views(policy.augment, image, count, seed) if views is None else views


def noise_of(space: Any, image: Tensor, points: Tensor, generator: torch.Generator) -> tuple[dict[str, Tensor], int]:
    """Return the noise that the ops of a space take besides magnitudes, and how many columns of `points` it used.

    Noise for every pixel has too many numbers for a quadrature and is drawn.
    """
    found, used = {}, 0
    for name, example in _examples(space, image).items():
        if example.ndim == 2:
            found[name] = points[:, used : used + example.shape[1]].to(example)
            used += example.shape[1]
        else:
            shape = (len(points), *example.shape[1:])
            found[name] = torch.randn(shape, generator=generator, dtype=example.dtype, device=example.device)
    return found, used


def noise_width(space: Any, image: Tensor) -> int:
    """Count the uniform numbers that the ops of a space take for an image besides their magnitudes."""
    return sum(example.shape[1] for example in _examples(space, image).values() if example.ndim == 2)


def _examples(space: Any, image: Tensor) -> dict[str, Tensor]:
    """Draw the noise of one image, for its shapes alone; no other draw depends on it."""
    return dict(space.noise(image[None], torch.Generator(image.device).manual_seed(0)))


@torch.no_grad()
def _learned(net: AugNet[Any, Any], image: Tensor, label: Tensor | None, count: int, seed: int) -> WeightedViews:
    rows = _mixture_rows(net, image)
    if rows is not None:
        return views_by_rows(net.space.apply, image, *rows)
    width = noise_width(net.space, image)
    points, rule = cube(count, width + net.policy.numbers_per_image, seed)
    points = points.to(image.device)
    generator = torch.Generator(image.device).manual_seed(seed)
    noise, used = noise_of(net.space, image, points, generator)
    images = image.repeat(len(points), 1, 1, 1)
    labels = None if label is None else label.expand(len(points))
    precise = torch.promote_types(image.dtype, torch.float32)
    magnitudes = net.policy.magnitudes(images, labels, points[:, used:].to(precise))
    augmented = net.space.apply(images, magnitudes.to(precise), noise)
    if len(noise) > sum(part.ndim == 2 for part in noise.values()):
        rule = "random"
    return WeightedViews(augmented, image.new_full((len(points),), 1 / len(points)), rule)


def _mixture_rows(net: AugNet[Any, Any], image: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return all rows of magnitudes of a mixture of one op an image, and their probabilities; None for others."""
    policy, space = net.policy, net.space
    if not isinstance(policy, MixturePolicy) or policy.ops_per_image != 1 or noise_width(space, image):
        return None
    if any(example.ndim > 2 for example in _examples(space, image).values()):
        return None
    rows = policy.table.rows(*image.shape[1:]).to(image)  # [O, 2, S, P]
    share = policy.probabilities().detach().double() / policy.edges.diff()
    weights = share.repeat_interleave(policy.edges.diff(), dim=1)[:, None].expand(-1, 2, -1) / 2
    return rows.flatten(0, 2), weights.flatten()
