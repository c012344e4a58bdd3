"""Effects of an augmentation on single classes (Kirichenko et al., 2023; `docs/method.md`, "Class effects").

Reads predictions and trained classifiers; `python -m studies class_effects` trains them.
"""

from ..former_names import former_names
from .changes import Change, changes_against_best
from .metrics import (
    ClassErrors,
    Truth,
    class_accuracy,
    confusion_counts,
    error_counts,
    error_rates,
    false_negatives,
    false_positives,
)
from .pairs import Pair, categorize, co_occurrence, growing_pairs
from .prediction import RankAgreement, predicted_harm, rank_agreement
from .recipe import Recipe, conditional_policy, find_recipe
from .reference import Reference, class_similarity

__all__ = [
    "Change",
    "ClassErrors",
    "Pair",
    "RankAgreement",
    "Recipe",
    "Reference",
    "Truth",
    "categorize",
    "changes_against_best",
    "class_accuracy",
    "class_similarity",
    "co_occurrence",
    "conditional_policy",
    "confusion_counts",
    "error_counts",
    "error_rates",
    "false_negatives",
    "false_positives",
    "find_recipe",
    "growing_pairs",
    "predicted_harm",
    "rank_agreement",
]

__getattr__ = former_names(__name__, categorise="categorize")
