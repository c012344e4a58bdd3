"""Augmentations in common use and those of a run, as functions from an example to its weighted views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from augnet import AugNet
from augnet.baselines import Baseline, FlipCrop, MixingBaseline, make_baseline
from augnet.ops import find_op

from ..run_folder import OpenedRun
from .mixing_views import mixed_views
from .policy_views import views_of
from .weighted_views import WeightedViews, random_views

_RANGES: dict[str, dict[str, float]] = {
    "translation": {"translate_x": 0.125, "translate_y": 0.125},
    "rotation": {"rotation": 30.0},
    "shear": {"shear_x": 20.0},
    "resized_crop": {"crop": 0.5, "aspect": 0.4},
    "color_jitter": {"exposure": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 30.0},
    "blur": {"blur": 0.05},
    "noise": {"noise": 0.1},
    "crop_and_color": {"horizontal_flip": 1.0, "crop": 0.5, "exposure": 0.5, "contrast": 0.5, "saturation": 0.5},
}
_BASELINES = ("flip_crop", "cutout", "rand_augment", "auto_augment", "trivial_augment", "augmix", "mixup", "cutmix")


@dataclass(frozen=True)
class Example:
    """An image with its target, and a second one to mix it with."""

    images: Tensor  # [2, C, H, W] in [0, 1]; the second is the partner
    labels: Tensor  # [2], int64
    targets: Tensor  # [2, K], probabilities


@dataclass(frozen=True)
class Budget:
    """Number of views for policies that cannot be enumerated, and the seed of their choice."""

    views: int = 512
    seed: int = 0


Augmentation = Callable[[Example, Budget], WeightedViews]


def ranges(bounds: Mapping[str, float], strength: float = 1.0) -> Augmentation:
    """Return the augmentation with magnitudes uniform up to a share, > 0, of the bounds of its ops."""
    return of_policy(AugNet.from_ops({name: strength * bound for name, bound in bounds.items()}, initial=1.0))


def of_policy(policy: AugNet | Baseline | MixingBaseline) -> Augmentation:
    """Return the augmentation of a policy, mixing or not."""

    def views(example: Example, budget: Budget) -> WeightedViews:
        if isinstance(policy, MixingBaseline) or (isinstance(policy, AugNet) and policy.space.mixes):
            return mixed_views(policy, example.images, example.targets, budget.views, budget.seed)
        return views_of(policy, example.images[0], example.labels[0], budget.views, budget.seed)

    return views


def training_policy(run: OpenedRun) -> Augmentation | None:
    """Return the base policy of a run followed by its learned one; None if that mixes, or there is only one."""
    base, net = run.model.base, run.policy
    if net is None or not isinstance(base, Baseline) or net.space.mixes:
        return None

    def views(example: Example, budget: Budget) -> WeightedViews:
        @torch.no_grad()
        def augment(images: Tensor, generator: torch.Generator) -> Tensor:
            images = base.augment(images, generator)
            labels = example.labels[:1].expand(len(images))
            augmented: Tensor = net.space.apply(images, net.sample(images, labels, generator), generator=generator)
            return augmented

        return random_views(augment, example.images[0], budget.views, budget.seed)

    return views


def common_augmentations(channels: int) -> dict[str, Augmentation]:
    """Return the common augmentations of images of so many channels, by name; some need red, green and blue."""
    found = {"horizontal_flip": of_policy(FlipCrop(padding=0.0))}
    for name, bounds in _RANGES.items():
        kept = {op: bound for op, bound in bounds.items() if channels == 3 or not find_op(op).needs_rgb}
        if kept:
            found[name] = ranges(kept)
    classic = () if channels not in (1, 3) else _BASELINES
    return found | {name: of_policy(make_baseline(name)) for name in classic}


def augmentations_of(run: OpenedRun) -> dict[str, Augmentation]:
    """Return the common augmentations, the learned policy of a run (`learned`), and all it trains with (`training`)."""
    found = common_augmentations(run.data.in_channels)
    if run.policy is not None:
        run.policy.to(run.model.device)
        found["learned"] = of_policy(run.policy)
    training = training_policy(run)
    return found if training is None else {**found, "training": training}
