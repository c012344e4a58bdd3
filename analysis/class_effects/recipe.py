"""The class-conditional recipe: a weaker strength for the classes that absorb others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .changes import most_changed
from .metrics import Integers

Weaker = Literal["next", "fewest"]


@dataclass(frozen=True)
class Recipe:
    """A strength for each class, and the classes behind it.

    Attributes:
        affected: The classes that lose most accuracy at the strongest augmentation, and the strength best for each.
        absorbing: The classes whose false positives grow most, and the weaker strength they get.
        strengths: `[K]`: that strength for absorbing classes, the strongest for all others.
    """

    affected: dict[int, float]
    absorbing: dict[int, float]
    strengths: list[float]


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
    return Recipe(
        affected={k: strengths[index] for k, index in affected.items()},
        absorbing=weakened,
        strengths=[weakened.get(k, strengths[-1]) for k in range(confusion.shape[2])],
    )
