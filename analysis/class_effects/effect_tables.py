"""Tables of class effects, for the terminal and in Markdown."""

from collections.abc import Mapping
from typing import Any

from ..text_table import TextTable

_PAIRS = 10
_GROUPS = {"mean": "all", "worst_class": "worst class", "affected": "affected", "absorbing": "absorbing"}
_TRUTHS = {"original": "by the label of the image", "multi_label": "by all answers people give"}


def effect_tables(result: Mapping[str, Any]) -> list[TextTable]:
    """Return the tables of classes, confusion pairs, prediction, and the class-conditional policies.

    A result has `classes`, `strengths`; `original` and, with votes, `multi_label`, both from `class_facts`; `pairs`
    from `pair_facts`; `prediction` from `prediction_facts`; `recipes`: by name of the arm, `affected` and `absorbing`
    (class name -> strength), `reference` (an arm) and `comparison` (truth -> `compare_recipe`).
    """
    names = [name for name in _TRUTHS if name in result]
    classes = [_classes(_TRUTHS[name], result[name]["classes"], result["strengths"]) for name in names]
    pairs, prediction = _pairs(result["pairs"][:_PAIRS]), _prediction(result["prediction"])
    recipes = [
        _recipe(_TRUTHS[name], arms, recipe["reference"])
        for recipe in result["recipes"].values()
        for name, arms in recipe["comparison"].items()
    ]
    return [*classes, pairs, prediction, *recipes]


def agreement_text(facts: Mapping[str, Any]) -> str:
    """Return a rank correlation with its interval."""
    if facts["spearman"] is None:
        return "not defined"
    return f"{facts['spearman']:+.2f} ({facts['low']:+.2f} to {facts['high']:+.2f})"


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """Return the classes that were chosen on the validation split, in a sentence."""
    absorbing = ", ".join(f"{name} {strength:g}" for name, strength in recipe["absorbing"].items())
    affected = ", ".join(recipe["affected"])
    return (
        f"Chosen on the validation split: absorbing classes and their strength: {absorbing or 'none'}; affected "
        f"classes: {affected or 'none'}."
    )


def _change_text(facts: Mapping[str, Any] | None, reference: bool) -> str:
    """Return a mean accuracy in percent, with its change and margin unless it is that of the reference."""
    if facts is None:
        return "-"
    mean = f"{100 * sum(facts['values']) / len(facts['values']):.1f}"
    return mean if reference else f"{mean} ({100 * facts['change']:+.1f} ± {100 * facts['margin']:.1f})"


def _classes(truth: str, rows: list[Mapping[str, Any]], strengths: list[float]) -> TextTable:
    columns = [f"{strength:g}" for strength in strengths]
    return TextTable(
        f"Accuracy in % and false positives (FP) of each class at each strength, {truth}; `*` is significant",
        ["class", *columns, "change", *(f"FP {column}" for column in columns), "growth"],
        [
            [
                row["class"],
                *(f"{100 * value:.1f}" for value in row["accuracy"]),
                f"{100 * row['change']:+.1f}{'*' * row['affected']}",
                *(f"{value:.0f}" for value in row["false_positives"]),
                f"{row['false_positive_growth']:+.0f}{'*' * row['absorbing']}",
            ]
            for row in rows
        ],
    )


def _pairs(pairs: list[Mapping[str, Any]]) -> TextTable:
    return TextTable(
        "Confusions that grow most, in % of the class, against the strength that is best for it",
        ["pair", "growth", "reverse", "co-occurrence", "similarity", "category"],
        [
            [
                f"{pair['label']} taken for {pair['prediction']}",
                *(f"{100 * pair[side]:+.1f}" for side in ("growth", "reverse")),
                "-" if pair["co_occurrence"] is None else f"{pair['co_occurrence']:.3f}",
                f"{pair['similarity']:.2f}",
                pair["category"] or "-",
            ]
            for pair in pairs
        ],
    )


def _prediction(steps: list[Mapping[str, Any]]) -> TextTable:
    measured = {"loss": "rise of the loss", "accuracy": "fall of accuracy"}
    return TextTable(
        "Rank correlation over the classes with what was measured (95 % bootstrap over the classes)",
        ["measured, from the weakest to", "predicted by influence", "control: loss before"],
        [
            [f"{step['strength']:g}: {title}", *(agreement_text(step[by][name]) for by in ("agreement", "control"))]
            for step in steps
            for name, title in measured.items()
        ],
    )


def _recipe(truth: str, arms: Mapping[str, Any], reference: str) -> TextTable:
    return TextTable(
        f"Accuracy in %, {truth}; in brackets the change against {reference}, 95 % over paired seeds",
        ["trained with", *_GROUPS.values()],
        [
            [arm, *(_change_text(facts.get(group), arm == reference) for group in _GROUPS)]
            for arm, facts in arms.items()
        ],
    )
