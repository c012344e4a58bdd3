"""All that a study finds out: runs, recipe and prediction; and the report of it as plain values."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightning_modules.monitoring.progress import progress_bar

from ..exchange_rate.run_cache import Result
from ..exchange_rate.setting import Setting
from ..exchange_rate.training import view_maker
from .metrics import Floats, Integers, Truth, class_accuracy
from .observation import class_losses
from .prediction import predicted_harm, rank_agreement
from .reference import Reference, class_similarity
from .study import Recipe, Runs, Study, Weaker, find_recipe, stack, write_recipe
from .summary import compare_recipe, measure, over_runs, pair_facts
from .thresholds import Thresholds

POLICY_FILE = "class_conditional_policy.json"
Train = Callable[[list[Setting]], list[Result]]


@dataclass(frozen=True)
class Outcome:
    """What was found out.

    Attributes:
        runs: By strength and seed.
        recipe: From the validation split.
        policy_file: The class-conditional policy; None if no class absorbs others.
        conditional: Runs with that policy, by seed; empty if there are none.
        harm: Predicted change of the loss of each class from the weakest to every other strength `[S - 1, R, K]`, from
            each of the weakest runs alone.
        start_loss: Validation loss of each class in the weakest runs, `[R, K]`.
        similarity: Of the classes in the features of the weakest runs, `[K, K]`.
    """

    runs: Runs
    recipe: Recipe
    policy_file: Path | None
    conditional: list[Result]
    harm: Floats
    start_loss: Floats
    similarity: Floats


def find_out(
    study: Study, train: Train, classes: int, weaker: Weaker, damping: float, retrain: bool, show_progress: bool = True
) -> Outcome:
    """Train the sweep, choose the classes, write their policy, predict the harm, and train with the policy.

    Args:
        study: The sweep.
        train: Results of runs, in their order.
        classes: How many classes the recipe is about.
        weaker: See `find_recipe`.
        damping: See `predicted_harm`.
        retrain: Whether to train with the class-conditional policy.
        show_progress: Whether to show a progress bar over the predictions.
    """
    settings = study.settings()
    runs = dict(zip(settings, train(list(settings.values())), strict=True))
    recipe = find_recipe(runs, study.strengths, classes, weaker)
    file = write_recipe(recipe, study.ops, study.folder / POLICY_FILE)
    harm, start, similarity = [], [], []
    with progress_bar(show_progress) as bar:
        for seed in bar.track(range(study.seeds), description="predictions"):
            weakest, *others = (view_maker(settings[strength, seed]) for strength in study.strengths)
            reference = Reference.load(settings[study.strengths[0], seed], study.weights)
            harm.append([predicted_harm(reference, weakest, other, damping).numpy() for other in others])
            validation = reference.validation()
            start.append(class_losses(validation.logits.log_softmax(dim=1), validation.labels).cpu().numpy())
            similarity.append(class_similarity(validation))
    return Outcome(
        runs=runs,
        recipe=recipe,
        policy_file=file,
        conditional=train(study.conditional_settings(recipe.strengths)) if retrain and file is not None else [],
        harm=np.array(harm).swapaxes(0, 1),
        start_loss=np.array(start),
        similarity=np.mean(similarity, axis=0),
    )


def truths_of(labels: Any, votes: Any | None, num_classes: int, vote_share: float) -> dict[str, Truth]:
    """What the test images show: `original`, and `multi_label` if there are votes.

    Raises:
        ValueError: If the votes are not those of these images and classes.
    """
    truths = {"original": Truth.single(labels, num_classes)}
    if votes is not None:
        if np.ndim(votes) != 2 or np.shape(votes)[1] != num_classes:
            raise ValueError(
                f"human_counts: expected [images, {num_classes} classes], found an array of {list(np.shape(votes))}."
            )
        truths["multi_label"] = Truth.from_votes(labels, votes, vote_share)
    return truths


def summarise(
    outcome: Outcome, study: Study, votes: Any | None, similarity: Floats | None, thresholds: Thresholds
) -> dict[str, Any]:
    """The outcome as plain values.

    Args:
        outcome: From `find_out`.
        study: The sweep.
        votes: Of people on the test images `[N, K]`, or None.
        similarity: Of the classes `[K, K]`; None takes that of the outcome.
        thresholds: Where lines are drawn.

    Returns:
        `classes`, `strengths`; `original` and, with votes, `multi_label` (see `measure`); `pairs`; `recipe`;
        `prediction`, one mapping for each strength but the weakest.
    """
    first = outcome.runs[study.strengths[0], 0]
    names, strengths = first["classes"], study.strengths
    truths = truths_of(first["labels"], votes, len(names), thresholds.vote_share)
    predicted: Integers = stack(outcome.runs, strengths, "test").astype(int)
    fullest = [*truths.values()][-1]
    nearness = outcome.similarity if similarity is None else similarity
    return {
        "classes": names,
        "strengths": strengths,
        **{
            name: measure(truth, predicted, strengths, names, thresholds.significance) for name, truth in truths.items()
        },
        "pairs": pair_facts(fullest, votes is not None, predicted, nearness, names, thresholds),
        "recipe": _recipe_facts(outcome, truths, predicted, names, strengths),
        "prediction": _prediction_facts(outcome, strengths, truths["original"], predicted),
    }


def _recipe_facts(
    outcome: Outcome, truths: dict[str, Truth], predicted: Integers, names: list[str], strengths: list[float]
) -> dict[str, Any]:
    recipe = outcome.recipe
    arms = {f"strength {strength:g}": seen for strength, seen in zip(strengths, predicted, strict=True)}
    strongest = list(arms)[-1]
    if outcome.conditional:
        arms["class-conditional"] = np.array([run["test"] for run in outcome.conditional])
    return {
        "affected": {names[k]: strength for k, strength in recipe.affected.items()},
        "absorbing": {names[k]: strength for k, strength in recipe.absorbing.items()},
        "policy_file": None if outcome.policy_file is None else outcome.policy_file.name,
        "comparison": {name: compare_recipe(truth, arms, recipe, strongest) for name, truth in truths.items()},
    }


def _prediction_facts(
    outcome: Outcome, strengths: list[float], truth: Truth, predicted: Integers
) -> list[dict[str, Any]]:
    """What was predicted from the weakest runs for every other strength, and what was then measured."""
    losses = stack(outcome.runs, strengths, "loss").mean(axis=1)  # [S, K]
    accuracy = over_runs(class_accuracy, truth, predicted).mean(axis=1)
    start = outcome.start_loss.mean(axis=0)
    facts = []
    for index, strength in enumerate(strengths[1:], start=1):
        by_seed = outcome.harm[index - 1]
        measured = {"loss": losses[index] - losses[0], "accuracy": accuracy[0] - accuracy[index]}
        signs = {
            "agreement": by_seed.mean(axis=0),
            "control": start,  # what the loss at the start, which knows nothing of the policy, says alone
        }
        facts.append(
            {
                "strength": strength,
                "predicted_by_seed": by_seed.tolist(),
                "predicted": by_seed.mean(axis=0).tolist(),
                "start_loss": start.tolist(),
                "loss_rise": measured["loss"].tolist(),
                "accuracy_fall": measured["accuracy"].tolist(),
                **{
                    sign: {name: asdict(rank_agreement(values, change)) for name, change in measured.items()}
                    for sign, values in signs.items()
                },
            }
        )
    return facts
