"""One run of a study of class effects: train at a strength, or with a strength for each class, and count errors."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from analysis.class_effects import (
    ClassErrors,
    Recipe,
    Reference,
    Truth,
    class_similarity,
    co_occurrence,
    conditional_policy,
    confusion_counts,
    find_recipe,
    predicted_harm,
)
from analysis.class_effects.metrics import Floats
from analysis.class_effects.recipe import Ops, Weaker, space_of
from augnet import AugNet, RangePolicy, TransformSpace, save_policy
from augnet.baselines import make_baseline
from augnet.baselines.base import Baseline
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.trainer import AugfluenceTrainer
from lightning_modules.data import ImageDataModule, InfluenceDataModule
from studies.data_location import data_path
from studies.engine import Cache, Result
from studies.fixed_policy import FixedPolicyRun, augmentation
from studies.training import predict

POLICY = "policy.json"
_LEAST = 1e-12  # probability


def check_strengths(strengths: Sequence[float]) -> None:
    """Raise ValueError unless there are two or more increasing strengths in (0, 1]."""
    ordered = list(strengths) == sorted(set(strengths))
    if len(strengths) < 2 or not ordered or not all(0 < strength <= 1 for strength in strengths):
        raise ValueError(
            f"strengths: expected two or more increasing fractions of the bounds in (0, 1], found {list(strengths)}; "
            "for almost none take 0.01."
        )


@dataclass(frozen=True, kw_only=True)
class Conditional:
    """A strength for each class, chosen from the runs of several strengths and seeds.

    Args:
        strengths: Of the runs, increasing fractions of the bounds in (0, 1]; absorbing classes get a weaker one.
        weaker: The strength of absorbing classes, see `find_recipe`.
        classes: Number of absorbing classes at most, and of affected ones that are reported.
        seeds: Number of seeds of the runs.
    """

    strengths: list[float]
    weaker: Weaker = "next"
    classes: int = 2
    seeds: int = 5

    def __post_init__(self) -> None:
        check_strengths(self.strengths)
        if self.classes < 1 or self.seeds < 1:
            raise ValueError(f"expected classes >= 1 and seeds >= 1, found {self.classes} and {self.seeds}.")


@dataclass(frozen=True, kw_only=True)
class ClassRun(FixedPolicyRun):
    """One classifier behind a policy; exactly one of `strength` and `conditional` is given.

    Args:
        ops: Op names, or op names and their bounds; the policy is uniform over them.
        base: A fixed policy in front, `none` or baselines joined by `+`.
        strength: Fraction of the bounds in (0, 1]; for almost none take 0.01.
        conditional: A strength for each class.
        predict: Strengths whose harm is predicted from this run, see `predicted_harm`.
        damping: Of the Hessian behind the prediction, times its mean eigenvalue.
        human_counts: Votes `[images, classes]` of people on the test images, in their order, as an `.npy` file in the
            data folder (CIFAR-10H).
        vote_share: Least share of the votes of a right answer, in (0, 1].
    """

    ops: list[str] | dict[str, float]
    base: str = "flip_crop"
    strength: float | None = None
    conditional: Conditional | None = None
    predict: list[float] | None = None
    damping: float = 0.1
    human_counts: str | None = None
    vote_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.strength is None) == (self.conditional is None):
            raise ValueError("give a strength, or a conditional policy, and not both.")
        if not all(0 < strength <= 1 for strength in (self.strength or 1.0, *(self.predict or ()))):
            raise ValueError(f"strengths must lie in (0, 1], found {self.strength} and {self.predict}.")
        if not (self.damping > 0 and 0 < self.vote_share <= 1):
            raise ValueError(
                f"expected damping > 0 and vote_share in (0, 1], found {self.damping} and {self.vote_share}."
            )
        space_of(self.ops)
        if self.base != "none" and not isinstance(make_baseline(self.base), Baseline):
            raise ValueError(f"base: {self.base} mixes images of different classes; leave mixup and cutmix out.")

    def run(self, cache: Cache) -> Result:
        """Train, and count errors on the validation and on the test split.

        Returns:
            `classes` (names), `train_loss`, `seconds`, and the facts of `_measured`; with `predict` those of
            `_predictions`; with `conditional` also `recipe` (classes by number -> strength), and nothing is trained if
            no class absorbs others.
        """
        started, folder = time.perf_counter(), cache.files(self)
        data = ImageDataModule(**self.data_arguments())
        truths = self._truths(data)
        names: dict[str, Any] = {"classes": list(data.class_names)}
        if self.conditional is None:
            policy: AugNet[Any, Any] = strength_policy(self.ops, self.strength or 1.0)
        else:
            recipe = self._recipe(cache, self.conditional)
            names["recipe"] = _recipe_facts(recipe)
            if not recipe.absorbing:
                return names
            policy = conditional_policy(self.ops, recipe.strengths)
        save_policy(policy, folder / POLICY)
        pl.seed_everything(self.run_seed, verbose=False)
        trainer, model = self.fit(data, self.base, folder / POLICY)
        train_loss = float(trainer.callback_metrics["train/loss"])  # predicting clears it
        return {
            **names,
            **_measured(trainer, model, data, truths),
            **(self._predictions(model, data, folder) if self.predict else {}),
            "train_loss": train_loss,
            "seconds": round(time.perf_counter() - started, 2),
        }

    def _truths(self, data: InfluenceDataModule) -> dict[str, Truth]:
        """Return the right answers of the test images; raise ValueError, before training, for missing classes."""
        Truth.single(data.splits.validation.labels, data.num_classes)
        labels = data.splits.load_test().labels
        truths = {"original": Truth.single(labels, data.num_classes)}
        if self.human_counts is not None:
            votes = read_matrix(Path(data_path(self.human_counts)), "human_counts")
            if votes.shape[1] != data.num_classes:
                raise ValueError(f"human_counts: expected [images, {data.num_classes}], found {list(votes.shape)}.")
            truths["multi_label"] = Truth.from_votes(labels, votes, self.vote_share)
        return truths

    def _recipe(self, cache: Cache, asked: Conditional) -> Recipe:
        """Choose strengths from the runs of the strengths, of which the weakest predict the others."""
        confusion = []
        for strength in asked.strengths:
            predict = asked.strengths[1:] if strength == asked.strengths[0] else None
            sibling = replace(self, strength=strength, conditional=None, predict=predict)
            runs = [cache.obtain(replace(sibling, seed=seed)) for seed in range(asked.seeds)]
            confusion.append([run["validation"] for run in runs])
        return find_recipe(np.array(confusion), asked.strengths, asked.classes, asked.weaker)

    def _predictions(self, model: AugmentedClassifier, data: InfluenceDataModule, folder: Path) -> dict[str, Any]:
        """Return `harm` by strength `[K]`, and `start_loss` `[K]` and `similarity` `[K][K]` on the validation split."""
        reference = Reference.of(model, data)
        before = augmentation(self.base, folder / POLICY)
        harm = {}
        for strength in self.predict or ():
            file = folder / f"strength_{strength:g}.json"
            save_policy(strength_policy(self.ops, strength), file)
            harm[f"{strength:g}"] = predicted_harm(
                reference, before, augmentation(self.base, file), self.damping
            ).tolist()
        rows = reference.validation()
        losses: Tensor = class_losses(rows.logits.log_softmax(dim=1), rows.labels)
        return {"harm": harm, "start_loss": losses.tolist(), "similarity": class_similarity(rows).tolist()}


def read_matrix(file: Path, field: str) -> Floats:
    """Read a matrix of finite numbers from an `.npy` file; nothing is unpickled.

    Raises:
        ValueError: If it is none.
    """
    try:
        matrix = np.asarray(np.load(file, allow_pickle=False), dtype=np.float64)
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{field}: {file} is no .npy file of numbers ({error}).") from error
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"{field}: expected a matrix of finite numbers in {file}, found {list(matrix.shape)}.")
    return matrix


def strength_policy(ops: Ops, strength: float) -> AugNet[RangePolicy, TransformSpace]:
    """Return the policy of one strength, in (0, 1]."""
    space = space_of(ops)
    return AugNet.from_ops(dict(zip(space.names, space.bounds, strict=True)), initial=strength)


def _measured(
    trainer: AugfluenceTrainer, model: AugmentedClassifier, data: InfluenceDataModule, truths: dict[str, Truth]
) -> dict[str, Any]:
    """Return the counts of a trained classifier.

    Returns:
        `validation` (confusion counts `[K][K]`); `loss` (test loss `[K]`); for each truth `errors` `[K][K]` and
        `images` `[K]` on the test split; with votes `co_occurrence` `[K][K]`.
    """
    validation, test = data.splits.validation, data.splits.load_test()
    seen = predict(trainer, model, validation).argmax(dim=1)
    probabilities = predict(trainer, model, test)
    chosen = probabilities.argmax(dim=1).numpy()
    together = {"co_occurrence": co_occurrence(truths["multi_label"]).tolist()} if "multi_label" in truths else {}
    return {
        "validation": confusion_counts(validation.labels, seen, data.num_classes).tolist(),
        "loss": class_losses(probabilities.double().clamp(min=_LEAST).log(), test.labels).tolist(),
        **{name: _errors(ClassErrors.of(truth, chosen)) for name, truth in truths.items()},
        **together,
    }


def class_losses(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy `[K]` of the images of each class, in float64.

    Args:
        log_probabilities: `[N, K]`.
        labels: Class numbers `[N]`; every class has some.
    """
    own = -log_probabilities.double().gather(1, labels[:, None]).squeeze(1)
    return torch.stack([own[labels == k].mean() for k in range(log_probabilities.shape[1])])


def _errors(errors: ClassErrors) -> dict[str, Any]:
    return {"errors": errors.counts.tolist(), "images": errors.sizes.tolist()}


def _recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """Return the strengths of affected and absorbing classes, by number of the class as a string."""
    groups = {"affected": recipe.affected, "absorbing": recipe.absorbing}
    return {name: {str(k): strength for k, strength in found.items()} for name, found in groups.items()}
