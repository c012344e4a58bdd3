"""Weighted views of one image under policies that mix it, and its label, with a second one.

The partner is fixed: moments over a data set are an average over partners. Each of the two is augmented by draws of
its own before they are mixed, as in a batch.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.special import betaincinv
from torch import Tensor

from augnet import AugNet
from augnet.baselines import MixingBaseline
from augnet.batch import Batch
from augnet.ops import MixingOp

from .policy_views import noise_of, noise_width
from .weighted_views import WeightedViews, cube


@torch.no_grad()
def mixed_views(
    policy: AugNet[Any, Any] | MixingBaseline, images: Tensor, targets: Tensor, count: int = 512, seed: int = 0
) -> WeightedViews:
    """Return the views of the first of two images with the second as its partner.

    Args:
        policy: Mixup, CutMix, or a learned policy over a space with a mixing op.
        images: `[2, C, H, W]` in [0, 1].
        targets: `[2, classes]`, probabilities.
        count: Views, >= 1.
        seed: Of the quasi-random points.

    Raises:
        ValueError: If there are not two images, the policy mixes nothing, or a baseline in front of it is drawn too.
    """
    space = policy.space
    if isinstance(policy, MixingBaseline) and policy.before is not None:
        raise ValueError("the views of mixing alone: take the policy without the baseline before it.")
    if len(images) != 2 or targets.shape[:1] != (2,):
        raise ValueError(f"expected two images and their targets, found {len(images)} and {len(targets)}.")
    if not space.mixes:
        raise ValueError("this policy mixes nothing: take views_of.")
    width = noise_width(space, images[0])
    own = 1 if isinstance(policy, MixingBaseline) else policy.policy.numbers_per_image
    points, rule = cube(count, 2 * (width + own), seed)
    points = points.view(2 * len(points), -1).to(images.device)  # image and partner in turn
    generator = torch.Generator(images.device).manual_seed(seed)
    noise, used = noise_of(space, images[0], points, generator)
    order = torch.arange(len(points), device=images.device) / len(points)
    for op in space.ops:
        if isinstance(op, MixingOp):
            noise[op.name][:, 0] = order  # so that the partner of every image is the next row
    batch, labels = images.repeat(len(points) // 2, 1, 1, 1), targets.repeat(len(points) // 2, 1)
    if isinstance(policy, MixingBaseline):
        share = betaincinv(policy.alpha, policy.alpha, points[:, used:].cpu().numpy())
        magnitudes = torch.from_numpy(share).to(images)
    else:
        magnitudes = policy.policy.magnitudes(batch, labels, points[:, used:].to(images))
    mixed = space.apply_to(Batch(batch, labels), magnitudes, noise)
    weights = images.new_full((len(points) // 2,), 2 / len(points))
    return WeightedViews(mixed.images[::2], weights, rule, mixed.labels[::2] if mixed.labels is not None else None)
