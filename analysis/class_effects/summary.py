"""What the runs of a sweep say about each class, as plain values for files and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from .changes import changes_against_best, mean_change
from .metrics import (
    Floats,
    Integers,
    Truth,
    class_accuracy,
    error_rates,
    false_negatives,
    false_positives,
    mean_accuracy,
)
from .pairs import co_occurrence, growing_pairs
from .study import Recipe
from .thresholds import Thresholds

Facts = dict[str, Any]


def over_runs(function: Any, truth: Truth, predicted: Integers) -> Floats:
    """A metric of every run: predictions `[S, R, N]` to `[S, R, ...]`."""
    return np.array([[function(truth, seen) for seen in row] for row in predicted], dtype=float)


def measure(
    truth: Truth, predicted: Integers, strengths: Sequence[float], classes: Sequence[str], level: float
) -> Facts:
    """Accuracy, false positives and false negatives of each class at each strength.

    Args:
        truth: Of the test images.
        predicted: Class numbers `[S, R, N]`.
        strengths: Increasing.
        classes: Names.
        level: Rate of false discoveries.

    Returns:
        `images`, `accuracy` (by strength, one value a seed) and `classes`, one mapping for each class; means over the
        seeds. `affected`: its accuracy falls significantly; `absorbing`: its false positives rise significantly.
    """
    accuracy = over_runs(class_accuracy, truth, predicted)
    positives = over_runs(false_positives, truth, predicted)
    negatives = over_runs(false_negatives, truth, predicted)
    drops = changes_against_best(accuracy, 1 / truth.sizes, level)
    rises = changes_against_best(-positives, 1, level)
    rows = [
        {
            "class": name,
            "images": int(truth.sizes[k]),
            "accuracy": accuracy[:, :, k].mean(axis=1).tolist(),
            "best_strength": strengths[drops[k].best],
            "change": drops[k].change,
            "p_value": drops[k].p_value,
            "affected": drops[k].significant,
            "false_positives": positives[:, :, k].mean(axis=1).tolist(),
            "false_positive_growth": abs(rises[k].change),
            "false_positive_p_value": rises[k].p_value,
            "absorbing": rises[k].significant,
            "false_negatives": negatives[:, :, k].mean(axis=1).tolist(),
        }
        for k, name in enumerate(classes)
    ]
    overall = over_runs(mean_accuracy, truth, predicted)
    return {"images": int(truth.counted.sum()), "accuracy": overall.tolist(), "classes": rows}


def pair_facts(
    truth: Truth, voted: bool, predicted: Integers, similarity: Floats, classes: Sequence[str], thresholds: Thresholds
) -> list[Facts]:
    """The confusions that grow most at the strongest augmentation, with the names of their classes.

    Args:
        truth: Of the test images; with votes, errors against all right answers are counted.
        voted: Whether it has votes; without, pairs have no category.
        predicted: Class numbers `[S, R, N]`.
        similarity: Of the classes, `[K, K]`.
        classes: Names.
        thresholds: What makes a pair similar, and one that co-occurs.
    """
    best = over_runs(class_accuracy, truth, predicted).mean(axis=1).argmax(axis=0)
    pairs = growing_pairs(
        over_runs(error_rates, truth, predicted).mean(axis=1),
        best.tolist(),
        similarity,
        thresholds.similarity,
        co_occurrence(truth) if voted else None,
        thresholds.co_occurrence,
    )
    return [{**asdict(pair), "label": classes[pair.label], "prediction": classes[pair.prediction]} for pair in pairs]


def compare_recipe(truth: Truth, arms: Mapping[str, Integers], recipe: Recipe, reference: str) -> dict[str, Facts]:
    """Accuracy of several ways to train, over all classes and over those that the recipe is about.

    Args:
        truth: Of the test images.
        arms: Name -> class numbers `[R, N]`.
        recipe: Names the classes; found on other images.
        reference: The arm that the others are compared with.

    Returns:
        By arm: `mean`, `worst_class`, `affected` and `absorbing` (None if there are no such classes), each with
        `values` (one a seed), and `change` with its 95 % `margin` against the reference.
    """
    groups = {"affected": sorted(recipe.affected), "absorbing": sorted(recipe.absorbing)}

    def values(predicted: Integers) -> dict[str, list[float]]:
        accuracy = np.array([class_accuracy(truth, seen) for seen in predicted])
        found = {"mean": [mean_accuracy(truth, seen) for seen in predicted]}
        found["worst_class"] = accuracy.min(axis=1).tolist()
        return found | {name: accuracy[:, members].mean(axis=1).tolist() for name, members in groups.items() if members}

    before = values(arms[reference])
    return {name: _against(before, values(predicted)) for name, predicted in arms.items()}


def _against(before: dict[str, list[float]], after: dict[str, list[float]]) -> Facts:
    facts: Facts = {}
    for name, values in after.items():
        change, margin = mean_change(before[name], values)
        facts[name] = {"values": values, "change": change, "margin": margin}
    return facts
