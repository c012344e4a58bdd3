"""Effects of strong augmentation on classes as plain values, for files, tables and figures.

Axes: S strengths (increasing), R seeds, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis.class_effects import ClassErrors, Recipe, changes_against_best, growing_pairs, rank_agreement
from analysis.class_effects.metrics import Floats
from analysis.statistics import over_seeds

Facts = dict[str, Any]


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of class effects; those of the paper are not published, so all are choices of this project.

    Args:
        co_occurrence: Least share of the images of a class with which another class co-occurs often.
        similarity: Least similarity of similar classes.
        significance: Rate of false discoveries among affected and among absorbing classes, in (0, 1).
    """

    co_occurrence: float = 0.02
    similarity: float = 0.3
    significance: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.significance < 1:
            raise ValueError(f"significance must lie in (0, 1), found {self.significance}; 0.05 is usual.")


def class_facts(errors: ClassErrors, strengths: Sequence[float], classes: Sequence[str], level: float) -> Facts:
    """Return accuracy, false positives and false negatives of each class at each strength.

    Args:
        errors: Of the test images, `[S, R, K, K]`.
        strengths: S of them.
        classes: Names.
        level: Rate of false discoveries.

    Returns:
        `images`, `accuracy` (by strength, one value a seed) and `classes`, one mapping for each class; means over the
        seeds. `affected`: its accuracy falls significantly; `absorbing`: its false positives rise significantly.
    """
    sizes = errors.sizes.reshape(-1, len(classes))[0]
    drops = changes_against_best(errors.accuracy, 1 / sizes, level)
    rises = changes_against_best(-errors.false_positives.astype(float), 1, level)
    accuracy, positives, negatives = (
        values.mean(axis=1) for values in (errors.accuracy, errors.false_positives, errors.false_negatives)
    )
    rows = [
        {
            "class": name,
            "images": int(sizes[k]),
            "accuracy": accuracy[:, k].tolist(),
            "best_strength": strengths[drops[k].best],
            "change": drops[k].change,
            "p_value": drops[k].p_value,
            "affected": drops[k].significant,
            "false_positives": positives[:, k].tolist(),
            "false_positive_growth": abs(rises[k].change),
            "false_positive_p_value": rises[k].p_value,
            "absorbing": rises[k].significant,
            "false_negatives": negatives[:, k].tolist(),
        }
        for k, name in enumerate(classes)
    ]
    return {"images": int(sizes.sum()), "accuracy": errors.mean_accuracy.tolist(), "classes": rows}


def pair_facts(
    errors: ClassErrors, similarity: Floats, together: Floats | None, classes: Sequence[str], thresholds: Thresholds
) -> list[Facts]:
    """Return the confusions that grow most at the strongest augmentation, with the names of their classes.

    Args:
        errors: Of the test images, `[S, R, K, K]`; with votes, those against all right answers.
        similarity: Of the classes, `[K, K]`.
        together: From `co_occurrence`; None without votes, and then pairs have no category.
        classes: Names.
        thresholds: Of similarity and of co-occurrence.
    """
    best = errors.accuracy.mean(axis=1).argmax(axis=0)
    pairs = growing_pairs(
        errors.rates.mean(axis=1),
        best.tolist(),
        similarity,
        thresholds.similarity,
        together,
        thresholds.co_occurrence,
    )
    return [{**asdict(pair), "label": classes[pair.label], "prediction": classes[pair.prediction]} for pair in pairs]


def compare_recipe(arms: Mapping[str, ClassErrors], recipe: Recipe, reference: str) -> dict[str, Facts]:
    """Compare accuracies of several policies, over all classes and over those of a recipe.

    Args:
        arms: Name -> errors of the test images, `[R, K, K]`.
        recipe: Found on other images.
        reference: The arm that the others are compared with.

    Returns:
        By arm: `mean`, `worst_class`, `affected` and `absorbing` (only if there are such classes), each with `values`
        (one a seed), and `change` with its 95 % `margin` against the reference.
    """
    groups = {"affected": sorted(recipe.affected), "absorbing": sorted(recipe.absorbing)}

    def values(errors: ClassErrors) -> dict[str, list[float]]:
        found = {"mean": errors.mean_accuracy, "worst_class": errors.accuracy.min(axis=1)}
        found |= {name: errors.accuracy[:, members].mean(axis=1) for name, members in groups.items() if members}
        return {name: numbers.tolist() for name, numbers in found.items()}

    before = values(arms[reference])
    return {arm: _against(before, values(errors)) for arm, errors in arms.items()}


def prediction_facts(
    strengths: Sequence[float], harm: Floats, start_loss: Floats, losses: Floats, accuracy: Floats
) -> list[Facts]:
    """Compare the predicted harm with the measured one, for every strength but the weakest.

    Args:
        strengths: S of them.
        harm: Predicted change of the loss of each class from the weakest to every other strength, `[S - 1, R, K]`.
        start_loss: Validation loss of each class at the weakest strength, `[R, K]`; the control, which does not
            depend on the policy.
        losses: Test loss of each class, `[S, R, K]`.
        accuracy: Test accuracy of each class, `[S, R, K]`.
    """
    losses, accuracy, start = losses.mean(axis=1), accuracy.mean(axis=1), start_loss.mean(axis=0)
    facts = []
    for index, (strength, by_seed) in enumerate(zip(strengths[1:], harm, strict=True), start=1):
        measured = {"loss": losses[index] - losses[0], "accuracy": accuracy[0] - accuracy[index]}
        predicted = by_seed.mean(axis=0)
        facts.append(
            {
                "strength": strength,
                "predicted_by_seed": by_seed.tolist(),
                "predicted": predicted.tolist(),
                "start_loss": start.tolist(),
                "loss_rise": measured["loss"].tolist(),
                "accuracy_fall": measured["accuracy"].tolist(),
                **{
                    name: {what: asdict(rank_agreement(values, change)) for what, change in measured.items()}
                    for name, values in (("agreement", predicted), ("control", start))
                },
            }
        )
    return facts


def mean_change(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Return the mean paired change over seeds, and the half-width of its 95 % t-interval.

    Args:
        before: One value a seed, two or more.
        after: As many, of the same seeds.
    """
    found = over_seeds([new - old for old, new in zip(before, after, strict=True)])
    return found.value, math.nan if found.high is None else found.high - found.value


def _against(before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> Facts:
    facts: Facts = {}
    for name, values in after.items():
        change, margin = mean_change(before[name], values)
        facts[name] = {"values": values, "change": change, "margin": margin}
    return facts


def stacked(errors: Sequence[Any]) -> ClassErrors:
    """Stack results `{"errors": [K][K], "images": [K]}`, nested in lists to any depth, to `[..., K, K]`."""
    return ClassErrors(_field(errors, "errors"), _field(errors, "images"))


def _field(nested: Any, name: str) -> Any:
    def pick(value: Any) -> Any:
        return value[name] if isinstance(value, Mapping) else [pick(one) for one in value]

    return np.array(pick(nested), dtype=np.int64)
