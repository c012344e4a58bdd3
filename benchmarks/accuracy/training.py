"""One run: train an arm on a task, and test it once."""

import math
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch

from analysis.exchange_rate.training import accuracy_of, classifier_of, trainer_of
from augnet import AugNet, save_policy
from benchmarks.accuracy.settings import Arm, Setting
from benchmarks.accuracy.tasks import TaskData, data_set
from benchmarks.environment import device_name, versions
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.trainer import AugfluenceTrainer

PACKAGES = ("torch", "torchvision", "kornia", "pytorch-lightning")


def train_and_test(setting: Setting) -> dict[str, Any]:
    """Train an arm, and test it.

    Args:
        setting: The run.

    Returns:
        Accuracies in [0, 1]: `test`; `clean`, of the test images before the task changed them, None where it changed
        nothing of them; `validation`, which a choice between variants may look at; `training`, of the training images
        as they are. `train_loss`: of the last epoch, on augmented images; None if it is no number. `policy`: what was
        learned, as `describe` says it; None where nothing was. `rollbacks`: how often the guard stepped in. `seconds`:
        of training. `versions`: of what made it.

    Raises:
        ValueError: If arm and task do not go together.
    """
    arm = setting.arm
    trainer, model, data, seconds = _fit(setting, arm)
    policy = None if model.learned is None else model.learned.describe()
    rollbacks = 0 if model.learner is None else model.learner.guard.rollbacks
    if arm.retrain:
        trainer, model, data, more = _fit_behind(model, setting)
        seconds += more
    train_loss = float(trainer.callback_metrics["train/loss"])  # predicting clears it
    splits = data.splits
    changes_test = setting.task.change == "deployment"
    return {
        "test": accuracy_of(trainer, model, splits.load_test()),
        "clean": accuracy_of(trainer, model, data.unchanged_test) if changes_test else None,
        "validation": accuracy_of(trainer, model, splits.validation),
        "training": accuracy_of(trainer, model, data.training_images),
        "train_loss": train_loss if math.isfinite(train_loss) else None,
        "policy": policy,
        "rollbacks": rollbacks,
        "seconds": round(seconds, 1),
        "versions": {"processor": device_name(trainer.strategy.root_device), **versions(PACKAGES)},
    }


def _fit(setting: Setting, arm: Arm) -> tuple[AugfluenceTrainer, AugmentedClassifier, TaskData, float]:
    """A trained classifier, its trainer and data, and the seconds it took to train."""
    training = setting.training
    pl.seed_everything(setting.seed, verbose=False)
    data = TaskData(
        data_set(setting.data, setting.seed),
        setting.task,
        batch_size=training.batch_size,
        seed=setting.seed,
        influence_source=arm.influence_set,
        folds=arm.folds,
        fold_epochs=arm.fold_epochs,
    )
    model = classifier_of(training, data, **arm.model)
    trainer = trainer_of(training)
    torch.manual_seed(setting.seed)  # an encoder is drawn before the classifier; the draws of training are the same
    started = time.perf_counter()
    trainer.fit(model, datamodule=data)
    return trainer, model, data, time.perf_counter() - started


def _fit_behind(
    learned: AugmentedClassifier, setting: Setting
) -> tuple[AugfluenceTrainer, AugmentedClassifier, TaskData, float]:
    """The same for a fresh classifier behind a policy that was learned, frozen, on the influence images too."""
    kept = {name: value for name, value in setting.arm.model.items() if name in ("base_policy", "policy_probability")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.json"
        save_policy(cast(AugNet[Any, Any], learned.learned), file)
        return _fit(setting, Arm({**kept, "policy_file": str(file)}, "train"))
