"""Effects of an augmentation on single classes (Kirichenko et al., 2023; docs/method.md, "Class effects")."""

from .changes import Change, changes_against_best
from .metrics import (
    Truth,
    class_accuracy,
    confusion_counts,
    error_counts,
    error_rates,
    false_negatives,
    false_positives,
)
from .pairs import Pair, categorise, co_occurrence, growing_pairs
from .policies import conditional_policy
from .prediction import RankAgreement, predicted_harm, rank_agreement
from .reference import Reference, class_similarity
from .study import Recipe, Study, find_recipe

__all__ = [
    "Change",
    "Pair",
    "RankAgreement",
    "Recipe",
    "Reference",
    "Study",
    "Truth",
    "categorise",
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
