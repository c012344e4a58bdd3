"""One run: train a classifier on a task, and test it once."""

import math
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import pytorch_lightning as pl
import torch

from augnet import AugNet, save_policy
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.trainer import AugfluenceTrainer
from lightning_modules.data import InfluenceSource
from lightning_modules.learner.sample_weights import SampleSettings
from studies.engine import Cache, Result, Setting
from studies.kinds.classifier.data import Data
from studies.kinds.classifier.tasks import TaskData
from studies.training import Training, accuracy_of, classifier_of, trainer_of

Role = Literal["fixed", "learned", "control"]
_FIXED = ("plain", "uniform")


class _Fitted(NamedTuple):
    trainer: AugfluenceTrainer
    model: AugmentedClassifier
    data: TaskData
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ClassifierRun(Setting):
    """A classifier on a task.

    Args:
        data: The images, before the task changes them.
        training: Network and optimization.
        change: Change of the splits that makes the task, a key of `tasks.CHANGES`.
        options: Arguments of the change.
        model: Arguments of `AugmentedClassifier`; those that follow from data and training are left out.
        influence_source: Source of the influence set. Runs that learn nothing `train` on it.
        folds: Of `cross_fit`.
        fold_epochs: Of `cross_fit`.
        retrain: Train a fresh classifier with the learned policy, on all images; costs twice the time.
    """

    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)
    change: Literal["nothing", "deployment", "dirt", "quarter_turns", "color_cast", "noise_level"] = "nothing"
    options: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    influence_source: InfluenceSource = "train"
    folds: int = 5
    fold_epochs: int = 1
    retrain: bool = False

    @property
    def role(self) -> Role:
        """The part in a comparison: a rival, the method, or the method with its influence falsified."""
        control = self.model.get("control", "none")
        if SampleSettings(**self.model.get("samples", {})).any:
            return "learned"  # with or without a policy
        if control in _FIXED:
            return "fixed"
        return "learned" if control == "none" else "control"

    def check(self) -> None:
        """Raise ValueError if the classifier cannot be trained, or not in a fair comparison."""
        if (self.role == "fixed") != (self.influence_source == "train"):
            raise ValueError("influence_source: fixed arms, and they alone, `train` on the influence set.")
        if self.retrain and self.role == "fixed":
            raise ValueError("retrain: expected an arm that learns a policy.")
        if "policy_file" in self.model:
            raise ValueError("model.policy_file: its content is not part of a run's key; leave it out.")
        small = {"model": "lightning_modules.classifier.models.SmallConvNet", "num_classes": 10, "in_channels": 3}
        arguments: dict[str, Any] = {"ops": ["rotation"], **self.model, **small}
        AugmentedClassifier(**arguments)

    def run(self, cache: Cache) -> Result:
        """Train and test.

        Returns:
            Accuracies in [0, 1]: `test`; `clean`, of the test images before the task changed them, None where it
            changed nothing of them; `validation`, for the choice between variants; `training`, of the training images
            as they are. `train_loss`: of the last epoch, on augmented images; None if it is not finite. `policy`: the
            learned policy, as its `describe` returns it; None where nothing was learned. `rollbacks`: of the guard.
            `seconds`: of training.

        Raises:
            ValueError: If model and task do not fit together.
        """
        trainer, model, data, seconds = self.fit()
        policy = None if model.learned is None else model.learned.describe()
        rollbacks = 0 if model.learner is None else model.learner.guard.rollbacks
        if self.retrain:
            trainer, model, data, more = self._fit_with(model)
            seconds += more
        train_loss = float(trainer.callback_metrics["train/loss"])  # predicting clears it
        splits = data.splits
        deployed = self.change == "deployment"
        return {
            "test": accuracy_of(trainer, model, splits.load_test()),
            "clean": accuracy_of(trainer, model, data.unchanged_test) if deployed else None,
            "validation": accuracy_of(trainer, model, splits.validation),
            "training": accuracy_of(trainer, model, data.training_images),
            "train_loss": train_loss if math.isfinite(train_loss) else None,
            "policy": policy,
            "rollbacks": rollbacks,
            "seconds": round(seconds, 1),
        }

    def fit(self) -> _Fitted:
        """Return a trained classifier, its trainer and data, and the seconds it took to train."""
        pl.seed_everything(self.seed, verbose=False)
        data = TaskData(
            self.data.open(self.seed),
            self.change,
            self.options,
            batch_size=self.training.batch_size,
            seed=self.seed,
            influence_source=self.influence_source,
            folds=self.folds,
            fold_epochs=self.fold_epochs,
        )
        model = classifier_of(self.training, data, **self.model)
        trainer = trainer_of(self.training)
        torch.manual_seed(self.seed)  # an encoder is drawn before the classifier; the draws of training are the same
        started = time.perf_counter()
        trainer.fit(model, datamodule=data)
        return _Fitted(trainer, model, data, time.perf_counter() - started)

    def _fit_with(self, learned: AugmentedClassifier) -> _Fitted:
        """Return the same for a fresh classifier with a learned policy, frozen, on the influence images too."""
        kept = {name: value for name, value in self.model.items() if name in ("base_policy", "policy_probability")}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "policy.json"
            save_policy(cast(AugNet[Any, Any], learned.learned), file)
            return replace(self, model={**kept, "policy_file": str(file)}, influence_source="train").fit()
