"""Training of the controls that a run is compared with, after the run itself."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from rich.console import Console

from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.run_setup import RunSettings
from lightning_modules.data import InfluenceDataModule
from lightning_modules.learner.policy_choice import has_uniform
from lightning_modules.monitoring.run_files import next_free_folder
from lightning_modules.monitoring.run_summary import ArmResult

if TYPE_CHECKING:
    from lightning_modules.commands.cli import AugfluenceCLI


@dataclass(frozen=True)
class Training:
    """A classifier with its trainer, its data and its folder."""

    trainer: pl.Trainer
    model: AugmentedClassifier
    data: InfluenceDataModule
    folder: Path


class Comparison:
    """Trains and tests the controls of a run, with the same data and seed.

    A staged run has learned its policy against a classifier that trained without it: that classifier is the control
    `plain`, and a new one is trained with the frozen policy, in the folder `retrained`.

    Args:
        cli: The command line interface of the finished run, which builds further trainings.
        settings: Settings of the run.
    """

    def __init__(self, cli: "AugfluenceCLI", settings: RunSettings) -> None:
        self.cli, self.settings = cli, settings
        self.arms: list[ArmResult] = []

    def train_arms(self, seconds: float) -> list[ArmResult]:
        """Test the run, which has trained for some seconds, and end its logs; then train and test its controls.

        Returns:
            The run first, then the controls; without a test split only those that were tested.
        """
        run = Training(self.cli.trainer, self.cli.model, self.cli.datamodule, self.cli.run_folder)
        control, wanted = run.model.control, [*self.settings.compare]
        name = "learned" if control == "none" else control
        if run.model.staged is None:
            self.arms.append(_result(name, run, seconds))
            close(run.trainer)
        else:
            plain = [_result("plain", run, seconds)] if self.settings.test else []
            close(run.trainer)
            Console().print("Training a fresh classifier behind the learned policy")
            self._train_with_policy(name, run.folder, seconds)
            self.arms += plain
            wanted = [other for other in wanted if other != "plain"]
        for other in wanted:
            if other == control:
                continue
            if other == "uniform" and not has_uniform(run.model.hparams["policy"]):
                Console().print("Left out: control uniform has no meaning for this policy.")
                continue
            Console().print(f"Comparing with control: {other}")
            self._train(other, {"control": other, "policy_file": None}, run.folder / other)
        return self.arms

    def _train(self, name: str, changes: dict[str, Any], folder: Path, seconds: float = 0) -> None:
        """Train and test a classifier with some fields changed, after training for some seconds that count too."""
        folder = next_free_folder(folder)
        settings = replace(self.settings, name=f"{self.settings.name}/{folder.relative_to(self.cli.run_folder)}")
        arm = self.cli.build_anew(changes, folder, settings)
        started = time.perf_counter()
        arm.trainer.fit(arm.model, datamodule=arm.data)
        seconds += time.perf_counter() - started
        staged = arm.model.staged is not None
        if self.settings.test and not staged:
            self.arms.append(_result(name, arm, seconds))
        close(arm.trainer)
        if staged:
            self._train_with_policy(name, folder, seconds)

    def _train_with_policy(self, name: str, folder: Path, seconds: float) -> None:
        """Train a new classifier with the frozen policy of a staged training."""
        changes = {"control": "none", "policy_file": str((folder / "policy.json").resolve())}
        self._train(name, changes, folder / "retrained", seconds)


def close(trainer: pl.Trainer) -> None:
    """End the logs of a trainer; an open W&B run would take the logs of the next trainer."""
    for logger in trainer.loggers:
        logger.finalize("success")
    if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        import wandb

        wandb.finish()


def _result(name: str, arm: Training, seconds: float) -> ArmResult:
    """Test a classifier, and return its results."""
    logged = arm.trainer.callback_metrics
    validated = [float(logged[key]) if key in logged else None for key in ("val/acc", "val/map")]  # testing clears them
    metrics = arm.trainer.test(arm.model, datamodule=arm.data, verbose=False)[0]
    ranges = {} if arm.model.learned is None else arm.model.learned.describe()
    found = metrics["test/acc"], metrics.get("test/map")
    return ArmResult(name, found[0], seconds, ranges, arm.folder, validated[0], found[1], validated[1])
