"""The command line: Lightning's commands and our own; every field typed, documented, overridable."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import WandbLogger
from rich.console import Console
from torch import Tensor

from lightning_modules.callbacks.interruption import Interrupted, interruptible
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier, Control
from lightning_modules.commands.command_line import mistakes_in_one_line, quieten
from lightning_modules.commands.emulated_precision import warn_of_emulated_precision
from lightning_modules.commands.own_rank import own_rank
from lightning_modules.commands.retraining import retrain_from
from lightning_modules.commands.run_setup import RunSettings, atomic_plugins, in_folder
from lightning_modules.commands.trainer import AugfluenceTrainer
from lightning_modules.data import InfluenceDataModule
from lightning_modules.learner.policy_choice import has_uniform
from lightning_modules.monitoring.summary import (
    ArmResult,
    next_free_folder,
    print_files,
    print_summary,
    write_predictions,
    write_summary,
)


class AugfluenceCLI(LightningCLI):
    """LightningCLI with a folder for each run, loggers, and a comparison at the end of `fit`."""

    model: AugmentedClassifier
    run_folder: Path
    arms: list[ArmResult]
    _started: float

    def __init__(self, model: type, data: type, args: ArgsType = None, **settings: Any) -> None:
        given = sys.argv[1:] if args is None else args
        self._called = given[0] if isinstance(given, list) and given and given[0] in self.subcommands() else None
        super().__init__(model, data, args=args, **settings)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, `retrain`, `attribute` and `adapt`."""
        own = ("retrain", "attribute", "adapt")
        return {**LightningCLI.subcommands(), **{command: {"model", "datamodule"} for command in own}}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Describe the arguments of the command that is called alone, or of all where none comes first: it is slow."""
        if self._called in (None, subcommand):
            return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        return self.init_parser(**kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the `run` group; classes, channels and size of the images come from the data."""
        parser.add_argument("--run", type=RunSettings, default=RunSettings(), help="Folder, logging, comparison.")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments("data.in_channels", "model.in_channels", apply_on="instantiate")
        parser.link_arguments("data.image_size", "model.image_size", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Retraining is a fit with the policy of a run, frozen, on all that is labelled."""
        if self.subcommand == "retrain":
            retrain_from(self.config.retrain)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Give the trainer the run's folder, its loggers and its callbacks; without a command it has none of them."""
        settings: RunSettings = self._get(self.config_init, "run")
        trainer = self._get(self.config_init, "trainer")
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        if self.subcommand is None:
            return super().instantiate_trainer(logger=False, **kwargs)
        if self.subcommand not in ("fit", "retrain"):
            kwargs["plugins"] = atomic_plugins(trainer)
            if self._get(self.config_init, "ckpt_path") is None:
                raise ValueError(
                    f"{self.subcommand} needs a trained model: --ckpt_path runs/NAME/checkpoints/last.ckpt."
                )
            self.save_config_callback = None  # there is no folder of its own to save it in
            if trainer.get("logger") is None:
                kwargs["logger"] = False
            if self.subcommand == "adapt":
                kwargs["enable_checkpointing"] = False  # it writes its own
            return super().instantiate_trainer(**kwargs)
        if settings.compare and not settings.test:
            raise ValueError("run.compare needs the test split: leave run.test true, or set run.compare to [].")
        self.model.check_data(self.datamodule)
        _check_checkpoint(self._get(self.config_init, "ckpt_path"))
        self.run_folder = _new_folder(Path(settings.folder) / settings.name)
        try:
            return super().instantiate_trainer(**in_folder(trainer, settings, self.run_folder), **kwargs)
        except BaseException:
            if own_rank() == 0:
                self.run_folder.rmdir()  # still empty
            raise

    def before_fit(self) -> None:
        """Warn of what would be slow, and start the clock."""
        warn_of_emulated_precision(self.trainer)
        self._started = time.perf_counter()

    def after_fit(self) -> None:
        """Test the run, train and test the controls it is compared with, write the summary."""
        seconds = time.perf_counter() - self._started
        settings: RunSettings = self._get(self.config_init, "run")
        self.arms = []
        if self.trainer.interrupted or not (settings.test or self.model.staged):
            _close(self.trainer)
            print_files(self.run_folder)
            return
        self._train_arms(settings, seconds)
        if self.trainer.is_global_zero and self.arms:
            seed = self._get(self.config, "seed_everything")
            write_summary(self.run_folder / "summary.json", settings.name, seed, self.arms)
            print_summary(self.run_folder, self.arms)

    before_retrain, after_retrain = before_fit, after_fit

    def _train_arms(self, settings: RunSettings, seconds: float) -> None:
        """The run itself first, then what it is compared with."""
        name, wanted = _arm_name(self.model.control), [*settings.compare]
        if self.model.staged is None:
            self.arms.append(_result(name, self.trainer, self.model, self.datamodule, seconds, self.run_folder))
            _close(self.trainer)
        else:
            plain = []
            if settings.test:  # the classifier that the policy was learned against has trained without it
                plain = [_result("plain", self.trainer, self.model, self.datamodule, seconds, self.run_folder)]
            _close(self.trainer)
            Console().print("Training a fresh classifier behind the learned policy")
            self._train_behind(name, self.run_folder, settings, seconds)
            self.arms += plain
            wanted = [control for control in wanted if control != "plain"]
        for control in wanted:
            if control == self.model.control:
                continue
            if control == "uniform" and not has_uniform(self.model.hparams["policy"]):
                Console().print("Left out: control uniform has no meaning for this policy.")
                continue
            Console().print(f"Comparing with control: {control}")
            changes = {"control": control, "policy_file": None}
            self._train_anew(control, changes, self.run_folder / control, settings)

    def _train_anew(
        self, name: str, changes: dict[str, Any], folder: Path, settings: RunSettings, seconds: float = 0
    ) -> None:
        """Train and test the same configuration with some fields of the model changed, in a folder of the run's."""
        config = self.config[self.subcommand].clone()
        for field_name, value in changes.items():
            config[f"model.{field_name}"] = value
        self.config_dump["model"].update(changes)  # what the checkpoint will say
        pl.seed_everything(config["seed_everything"], workers=True)
        objects = self._parser(self.subcommand).instantiate_classes(config)
        folder = _new_folder(folder)
        named = replace(settings, name=f"{settings.name}/{folder.relative_to(self.run_folder)}")
        trainer = self.trainer_class(**{**objects["trainer"], **in_folder(objects["trainer"], named, folder)})
        started = time.perf_counter()
        trainer.fit(objects["model"], datamodule=objects["data"])
        seconds += time.perf_counter() - started
        staged = objects["model"].staged is not None
        if settings.test and not staged:
            self.arms.append(_result(name, trainer, objects["model"], objects["data"], seconds, folder))
        _close(trainer)
        if staged:
            self._train_behind(name, folder, settings, seconds)

    def _train_behind(self, name: str, folder: Path, settings: RunSettings, seconds: float) -> None:
        """Train a fresh classifier behind the policy that a staged run left in a folder after so many seconds."""
        changes = {"control": "none", "policy_file": str((folder / "policy.json").resolve())}
        self._train_anew(name, changes, folder / "retrained", settings, seconds)

    def predict(self, **kwargs: Any) -> None:
        """Predict, and write the class probabilities of every image beside the run's checkpoints."""
        batches = cast(list[Tensor], self.trainer.predict(**kwargs) or [])
        checkpoint = Path(str(self._get(self.config_init, "ckpt_path")))
        path = checkpoint.parent.parent / "predictions.csv"
        write_predictions(path, torch.cat(batches), self.datamodule.class_names)
        Console().print(f"Predictions: {path}", soft_wrap=True)


def _check_checkpoint(path: str | Path | None) -> None:
    """Raise FileNotFoundError if a checkpoint on disk is asked for and missing."""
    name = str(path)
    if name.endswith(".ckpt") and "://" not in name and not Path(name).exists():
        raise FileNotFoundError(f"ckpt_path: there is no checkpoint {name}.")


def _new_folder(wanted: Path) -> Path:
    """The folder, or the next that is free; the first of several processes makes it, and alone writes into it."""
    return next_free_folder(wanted) if own_rank() == 0 else wanted


def _arm_name(control: Control) -> str:
    """What a run is called in the table."""
    return "learned" if control == "none" else control


def _result(
    name: str, trainer: pl.Trainer, model: AugmentedClassifier, data: Any, seconds: float, folder: Path
) -> ArmResult:
    """Read the test split once."""
    validation = trainer.callback_metrics.get("val/acc")  # testing clears it
    metrics = trainer.test(model, datamodule=data, verbose=False)[0]
    ranges = {} if model.learned is None else model.learned.describe()
    validated = None if validation is None else float(validation)
    return ArmResult(name, metrics["test/acc"], seconds, ranges, folder, validated)


def _close(trainer: pl.Trainer) -> None:
    """End the logs of a trainer; a W&B run that is left open takes what the next trainer logs."""
    for logger in trainer.loggers:
        logger.finalize("success")
    if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        import wandb

        wandb.finish()


def build_cli(args: ArgsType = None, run: bool = True) -> AugfluenceCLI:
    """Parse arguments, build trainer, model and data, and run the command.

    Args:
        args: Arguments as a list, or as nested fields, instead of those of the process.
        run: False builds the classes alone: then there is no command among the arguments.

    Returns:
        The command line interface with its trainer, model and data.
    """
    return AugfluenceCLI(
        AugmentedClassifier,
        InfluenceDataModule,
        trainer_class=AugfluenceTrainer,
        subclass_mode_data=True,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"description": "Train a classifier and its augmentation policy."},
        args=args,
        run=run,
    )


def main(args: ArgsType = None) -> AugfluenceCLI:
    """Run the command line; what is wrong becomes one paragraph on the terminal instead of a traceback.

    The process then ends with 2 for a mistake of the user, 1 for a full disk or a lost process, and 128 + the number of
    the signal after SIGINT (Ctrl-C) or SIGTERM.

    Args:
        args: Arguments as a list, instead of those of the process.

    Returns:
        The command line interface with its trainer, model and data, for callers from Python.
    """
    quieten()
    try:
        with interruptible(), mistakes_in_one_line():
            return build_cli(args)
    except Interrupted as stop:
        if not getattr(stop, "__notes__", None):  # outside of training and testing
            print(stop, file=sys.stderr)
        raise
