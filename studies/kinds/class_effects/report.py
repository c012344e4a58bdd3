"""The page of a study of class effects."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from analysis.class_effects import ClassErrors, Recipe
from analysis.class_effects.effect_tables import effect_tables, recipe_text
from analysis.class_effects.metrics import Floats
from studies.data_location import data_path
from studies.engine import Page, Report, Result, Results, Study
from studies.kinds.class_effects.facts import (
    Thresholds,
    class_facts,
    compare_recipe,
    pair_facts,
    prediction_facts,
    stacked,
)
from studies.kinds.class_effects.pictures import agreement_picture, class_picture
from studies.kinds.class_effects.run import ClassRun, check_strengths, read_matrix

_LEAST_SEEDS = 2
_TRUTHS = ("original", "multi_label")


@dataclass(frozen=True)
class ClassEffectsReport(Report):
    """Classes, confusions, prediction and class-conditional policies.

    Args:
        thresholds: Of significance, similarity and co-occurrence.
        similarity: Semantic similarity `[K, K]` of the classes, in their order, as an `.npy` file in the data folder;
            by default the cosine between the class means in the features of the weakest runs.
    """

    thresholds: Thresholds = Thresholds()  # noqa: RUF009 - frozen
    similarity: str | None = None

    def check(self, study: Study) -> None:
        """Raise ValueError unless there are two seeds and two strengths, the weakest of which predicts the others."""
        if study.seeds < _LEAST_SEEDS:
            raise ValueError(f"seeds must be at least 2, found {study.seeds}: significance is over seeds.")
        strengths = list(_strengths(study))
        check_strengths(strengths)
        weakest = _run(study, _strengths(study)[strengths[0]])
        if weakest.predict != strengths[1:]:
            raise ValueError(
                f"arm {_strengths(study)[strengths[0]]!r}: expected predict {strengths[1:]}, all stronger strengths, "
                f"found {weakest.predict}."
            )

    def page(self, study: Study, results: Results) -> Page:
        """Return tables and figures over the seeds that all arms have."""
        seeds = [seed for seed in range(study.seeds) if all(c in results for c in study.settings() if c.seed == seed)]
        if len(seeds) < _LEAST_SEEDS:
            return Page(["Fewer than two seeds are complete."])
        task = next(iter(study.tasks))
        runs = {
            arm: [results[cell] for cell in study.settings([task], [arm]) if cell.seed in seeds] for arm in study.arms
        }
        facts = self.facts(study, runs)
        texts = [f"{arm}. {recipe_text(recipe)}" for arm, recipe in facts["recipes"].items()]
        parts = [_head(study), *(table.markdown() for table in effect_tables(facts)), *texts]
        return Page(parts, {"": class_picture(facts), "prediction": agreement_picture(facts)}, facts)

    def facts(self, study: Study, runs: Mapping[str, list[Result]]) -> dict[str, Any]:
        """Return everything that is found, see `effect_tables`.

        Args:
            study: The study.
            runs: By arm, one for each seed.
        """
        arms = _strengths(study)
        strengths, sweep = list(arms), [runs[arm] for arm in arms.values()]
        names = sweep[0][0]["classes"]
        errors = {truth: stacked([_only(found, truth) for found in sweep]) for truth in _TRUTHS if truth in sweep[0][0]}
        together = _mean(sweep[0], "co_occurrence") if "co_occurrence" in sweep[0][0] else None
        harm = [[run["harm"][f"{strength:g}"] for run in sweep[0]] for strength in strengths[1:]]
        losses = np.array([[run["loss"] for run in found] for found in sweep])
        start = np.array([run["start_loss"] for run in sweep[0]])
        fullest, level = [*errors.values()][-1], self.thresholds.significance
        return {
            "classes": names,
            "strengths": strengths,
            **{truth: class_facts(found, strengths, names, level) for truth, found in errors.items()},
            "pairs": pair_facts(fullest, self._similarity(sweep[0]), together, names, self.thresholds),
            "prediction": prediction_facts(strengths, np.array(harm), start, losses, errors["original"].accuracy),
            "recipes": {arm: _recipe(study, runs, arm, list(errors)) for arm in study.arms if arm not in arms.values()},
        }

    def _similarity(self, weakest: list[Result]) -> Floats:
        if self.similarity is None:
            return _mean(weakest, "similarity")
        return read_matrix(Path(data_path(self.similarity)), "similarity")


def _recipe(study: Study, runs: Mapping[str, list[Result]], arm: str, truths: list[str]) -> dict[str, Any]:
    """Return the classes of a class-conditional arm and its comparison with the strengths."""
    names, found = runs[arm][0]["classes"], runs[arm][0]["recipe"]
    by_number = {group: {int(k): strength for k, strength in found[group].items()} for group in found}
    recipe = Recipe(by_number["affected"], by_number["absorbing"], [])
    compared = [*_strengths(study).values(), *([arm] if recipe.absorbing else [])]
    strongest = [*_strengths(study).values()][-1]

    def errors(truth: str) -> dict[str, ClassErrors]:
        return {name: stacked(_only(runs[name], truth)) for name in compared}

    return {
        **{group: {names[k]: strength for k, strength in classes.items()} for group, classes in by_number.items()},
        "reference": strongest,
        "comparison": {truth: compare_recipe(errors(truth), recipe, strongest) for truth in truths},
    }


def _head(study: Study) -> str:
    run = _run(study, next(iter(study.arms)))
    votes = (
        " Errors are counted against the label and against all answers that people give." if run.human_counts else ""
    )
    return (
        f"{run.training.describe()} {run.size:,} training images; {run.base}, then {', '.join(run.ops)} uniform up to "
        f"the strength times their bounds. Classes are chosen on the validation split and measured on the test split."
        f"{votes}"
    )


def _strengths(study: Study) -> dict[float, str]:
    """Return strength -> arm, in the order of the study."""
    runs = {arm: _run(study, arm) for arm in study.arms}
    return {run.strength: arm for arm, run in runs.items() if run.strength is not None}


def _run(study: Study, arm: str) -> ClassRun:
    return cast(ClassRun, study.setting(next(iter(study.tasks)), arm))


def _only(runs: list[Result], name: str) -> list[Any]:
    return [run[name] for run in runs]


def _mean(runs: list[Result], name: str) -> Floats:
    return np.asarray(np.mean(_only(runs, name), axis=0), dtype=np.float64)
