"""The runs of a strength sweep, and the class-conditional recipe chosen from them (docs/method.md, "Class effects")."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from augnet import save_policy
from augnet.baselines import make_baseline
from augnet.baselines.base import Baseline

from ..exchange_rate.run_cache import Result
from ..exchange_rate.setting import Measurement, Setting, Training
from .changes import most_changed
from .metrics import Floats
from .policies import (
    Ops,
    check_strengths,
    conditional_policy,
    space_of,
    write_conditional,
    write_strength,
)

Weaker = Literal["next", "fewest"]
Runs = Mapping[tuple[float, int], Result]  # by strength and seed


@dataclass(frozen=True)
class Study:
    """One policy at several strengths.

    Attributes:
        path: The data.
        folder: Where the policies, results and weights go.
        ops: Op names, or op names and their bounds; the policy is uniform over them.
        base: A fixed policy in front, `none` or baselines joined by `+`.
        strengths: Fractions of the bounds in (0, 1], increasing, two or more. The first is what the others are
            predicted from, the last is what is asked about.
        size: Training images.
        seeds: Number of seeds, two or more.
        training: How all classifiers are trained.
        measurement: The splits.
    """

    path: str
    folder: Path
    ops: Ops
    base: str
    strengths: list[float]
    size: int
    seeds: int
    training: Training
    measurement: Measurement

    def __post_init__(self) -> None:
        check_strengths(self.strengths)
        space_of(self.ops)
        if self.base != "none" and not isinstance(make_baseline(self.base), Baseline):
            raise ValueError(f"base: {self.base} mixes images of different classes; leave mixup and cutmix out.")
        if self.measurement.corruptions:
            raise ValueError("measurement.corruptions: classes are looked at on images as they are; leave it empty.")
        if self.seeds < 2:
            raise ValueError(f"seeds must be at least 2, found {self.seeds}: significance is over seeds.")

    @property
    def policies(self) -> Path:
        """The folder of the policies that runs are trained with."""
        return self.folder / "policies"

    @property
    def weights(self) -> Path:
        """The folder of trained weights."""
        return self.folder / "weights"

    def settings(self) -> dict[tuple[float, int], Setting]:
        """The runs by (strength, seed), one seed after the other; writes the policies of the strengths."""
        files = {strength: write_strength(self.ops, strength, self.policies) for strength in self.strengths}
        return {
            (strength, seed): self._setting(files[strength], seed)
            for seed in range(self.seeds)
            for strength in self.strengths
        }

    def conditional_settings(self, strengths: list[float]) -> list[Setting]:
        """The runs with a strength for each class, by seed; writes their policy."""
        file = write_conditional(self.ops, strengths, self.policies)
        return [self._setting(file, seed) for seed in range(self.seeds)]

    def _setting(self, file: Path, seed: int) -> Setting:
        policy = str(file) if self.base == "none" else f"{self.base}+{file}"
        return Setting(self.path, self.size, policy, 0, seed, self.training, self.measurement)


@dataclass(frozen=True)
class Recipe:
    """What the validation split says.

    Attributes:
        affected: The classes that lose most accuracy at the strongest augmentation, and the strength best for each.
        absorbing: The classes whose false positives grow most, and the weaker strength they get.
        strengths: `[K]`: that strength for absorbing classes, the strongest for all others.
    """

    affected: dict[int, float]
    absorbing: dict[int, float]
    strengths: list[float]


def find_recipe(runs: Runs, strengths: list[float], count: int, weaker: Weaker = "next") -> Recipe:
    """Give the classes that absorb others their weaker strength, and leave the others alone.

    It is decided on the validation split, by the labels of its images, so that the test split can say how well it
    works. A strength that differs much between classes can give the class away: a network that has seen one class
    unaugmented and the others not takes what is not augmented, such as test images, for that class.

    Args:
        runs: All runs of the sweep.
        strengths: Increasing.
        count: How many affected and how many absorbing classes at most, >= 1.
        weaker: Strength of absorbing classes: `next` below the strongest, or that with the `fewest` false positives.
    """
    if count < 1:
        raise ValueError(f"classes must be at least 1, found {count}.")
    confusion = stack(runs, strengths, "validation")  # [S, R, K, K]
    right = confusion.diagonal(axis1=2, axis2=3)
    affected = most_changed(right / confusion.sum(axis=3), count)
    absorbing = most_changed(right - confusion.sum(axis=2), count)  # minus the false positives
    weakened = {k: strengths[-2] if weaker == "next" else strengths[index] for k, index in absorbing.items()}
    return Recipe(
        affected={k: strengths[index] for k, index in affected.items()},
        absorbing=weakened,
        strengths=[weakened.get(k, strengths[-1]) for k in range(confusion.shape[2])],
    )


def write_recipe(recipe: Recipe, ops: Ops, file: Path) -> Path | None:
    """Write the class-conditional policy of a recipe for people; None, and no file, if no class absorbs others.

    What is there from an earlier recipe is replaced.
    """
    if not recipe.absorbing:
        file.unlink(missing_ok=True)
        file.with_suffix(".safetensors").unlink(missing_ok=True)
        return None
    save_policy(conditional_policy(ops, recipe.strengths), file)
    return file


def stack(runs: Runs, strengths: list[float], field: str) -> Floats:
    """One field of all results, `[S, R, ...]`."""
    seeds = 1 + max(seed for _, seed in runs)
    return np.array([[runs[strength, seed][field] for seed in range(seeds)] for strength in strengths], dtype=float)
