"""The class-conditional recipe: a weaker strength for the classes that absorb others, and its policy.

At strength s every op is uniform up to s times its bound. The random numbers of an image depend neither on its class
nor on the strength, so an image whose class keeps its strength is augmented to the same pixels as without the recipe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from augnet import AugNet, ClassConditionalPolicy, TransformSpace
from augnet.policies.base import initial_logits

from .metrics import Floats, Integers

Ops = Sequence[str] | Mapping[str, float]
Weaker = Literal["next", "fewest"]


@dataclass(frozen=True)
class Recipe:
    """A strength for each class, and the classes behind it."""

    affected: dict[int, float]  # classes that lose most accuracy at the strongest augmentation -> best strength
    absorbing: dict[int, float]  # classes whose false positives grow most -> the weaker strength they get
    strengths: list[float]  # [K]: that strength for absorbing classes, the strongest for all others


def find_recipe(confusion: Integers, strengths: Sequence[float], count: int, weaker: Weaker = "next") -> Recipe:
    """Give absorbing classes a weaker strength, and all others the strongest.

    Decide on the validation split, so that the test split can measure the outcome. Strengths that differ much between
    classes can reveal the class: a network that has seen one class unaugmented and the others not takes unaugmented
    images, such as test images, for that class.

    Args:
        confusion: Counts `[S, R, K, K]` of S strengths and R seeds, label, then prediction.
        strengths: Increasing, S of them.
        count: Number of affected and of absorbing classes at most, >= 1.
        weaker: Strength of absorbing classes: `next` below the strongest, or that with the `fewest` false positives.

    Raises:
        ValueError: If `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"classes must be at least 1, found {count}.")
    right = confusion.diagonal(axis1=2, axis2=3)
    affected = most_changed(right / confusion.sum(axis=3), count)
    absorbing = most_changed(right - confusion.sum(axis=2), count)  # minus the false positives
    weakened = {k: strengths[-2] if weaker == "next" else strengths[index] for k, index in absorbing.items()}
    of_classes = [weakened.get(k, strengths[-1]) for k in range(confusion.shape[2])]
    return Recipe({k: strengths[index] for k, index in affected.items()}, weakened, of_classes)


def most_changed(values: Floats, count: int) -> dict[int, int]:
    """Return the classes that lose most, at most `count`, and the index of the strength that is best for each.

    The worst class is first; classes that lose nothing are left out. `values` are `[S, R, K]` of S strengths, the
    strongest last; more is better.
    """
    means = values.mean(axis=1)
    loss = means.max(axis=0) - means[-1]
    worst = np.argsort(-loss, kind="stable")[:count]
    return {int(k): int(means[:, k].argmax()) for k in worst if loss[k] > 0}


def space_of(ops: Ops) -> TransformSpace:
    """Return the space of ops that augment every image on its own.

    Raises:
        ValueError: If an op mixes images, which then have no single class.
    """
    space = TransformSpace(ops)
    if space.mixes:
        raise ValueError(f"ops: {', '.join(ops)} mix images of different classes; leave mixup and cutmix out.")
    return space


def conditional_policy(ops: Ops, strengths: Sequence[float]) -> AugNet[ClassConditionalPolicy, TransformSpace]:
    """Return a policy with a strength for each class, `[K]` fractions of the bounds in (0, 1]."""
    space = space_of(ops)
    policy = ClassConditionalPolicy(space, len(strengths))
    with torch.no_grad():
        policy.theta.copy_(torch.cat([initial_logits(strength, 1, len(space)) for strength in strengths]))
    return AugNet(space, policy)
