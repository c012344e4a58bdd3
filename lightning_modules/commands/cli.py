"""The command line: Lightning's commands, and `retrain`, `attribute` and `adapt`."""

import sys
import time
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from rich.console import Console
from torch import Tensor

from augnet.memory import keep_memory
from lightning_modules.callbacks.interruption import Interrupted, interruptible
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.checkpoint_settings import check_given, settings_in
from lightning_modules.commands.comparison import Comparison, Training, close
from lightning_modules.commands.predictions import write_predictions
from lightning_modules.commands.renamed_settings import RENAMED_MODE, with_new_names
from lightning_modules.commands.retrain import retrain_from
from lightning_modules.commands.run_setup import (
    RunSettings,
    atomic_plugins,
    check_folder,
    check_trainer,
    in_folder,
    warn_of_emulated_precision,
)
from lightning_modules.commands.terminal import mistakes_in_one_line, quieten
from lightning_modules.commands.trainer import AugfluenceTrainer
from lightning_modules.data import InfluenceDataModule
from lightning_modules.learner.paths import expanded
from lightning_modules.monitoring.run_files import next_free_folder, own_rank, print_files, require_writable
from lightning_modules.monitoring.run_summary import ArmResult, print_summary, write_summary

_PATHS = ("ckpt_path", "policy_file", "folder", "run.folder", "model.policy_file", "change.policy_file")
"""Settings that are paths, of any command, except those of the data."""


class AugfluenceCLI(LightningCLI):
    """LightningCLI with a folder for each run, loggers, and a comparison with controls at the end of `fit`."""

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
        """Return the commands, with the arguments of each that are not options."""
        own = ("retrain", "attribute", "adapt")
        return {**LightningCLI.subcommands(), **{command: {"model", "datamodule"} for command in own}}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser that accepts old names of settings in configurations."""
        return super().init_parser(**{"parser_mode": RENAMED_MODE, "exit_on_error": False, **kwargs})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse arguments with old or new names."""
        self._args = with_new_names(sys.argv[1:] if args is None else args)
        if args is None:
            self.config = parser.parse_args(self._args)
        else:
            super().parse_arguments(parser, self._args)
        config = self.config[self.config.subcommand] if "subcommand" in self.config else self.config
        for name in _PATHS:
            if isinstance(config.get(name), str | Path):
                config[name] = expanded(config[name])

    def _parse_ckpt_path(self) -> None:
        """Take the model's settings from a checkpoint; refuse others that are given with it."""
        command = self.config.get("subcommand")
        path = command and self.config[command].get("ckpt_path")
        if not path or not Path(path).is_file():
            return
        written = settings_in(Path(path))
        if written:
            given = self.parser.parse_args(self._args, defaults=False)[command].get("model") or {}
            check_given(given.as_dict() if isinstance(given, Namespace) else given, written, command, Path(path))
            self.config = self.parser.parse_object({command: {"model": written}}, self.config)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Add the arguments of the called command only, which is slow; of all commands if none is called first."""
        if self._called in (None, subcommand):
            return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        return self.init_parser(**kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the `run` group; take the kind of labels, the number of classes, channels and pixels from the data."""
        parser.add_argument("--run", type=RunSettings, default=RunSettings(), help="Folder, logging, comparison.")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments("data.multilabel", "model.multilabel", apply_on="instantiate")
        parser.link_arguments("data.in_channels", "model.in_channels", apply_on="instantiate")
        parser.link_arguments("data.image_size", "model.image_size", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Change the configuration for the command `retrain`; check that the files of the command can be written."""
        if self.subcommand == "retrain":
            retrain_from(self.config.retrain)
        if self.subcommand in ("fit", "retrain"):
            run = self.config[self.subcommand].run
            check_folder(RunSettings(name=run.name, folder=run.folder))
        elif self.subcommand == "predict" and self.config.predict.ckpt_path:
            require_writable(Path(self.config.predict.ckpt_path).parent.parent, "ckpt_path")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the trainer; those of `fit` and `retrain` get the folder, loggers and callbacks of a run."""
        settings: RunSettings = self._get(self.config_init, "run")
        trainer = self._get(self.config_init, "trainer")
        check_trainer(trainer)
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
        self._check(settings)
        self.run_folder = next_free_folder(Path(settings.folder) / settings.name)
        try:
            return super().instantiate_trainer(**in_folder(trainer, settings, self.run_folder), **kwargs)
        except BaseException:
            if own_rank() == 0:
                self.run_folder.rmdir()  # still empty
            raise

    def _check(self, settings: RunSettings) -> None:
        """Raise ValueError or FileNotFoundError if the data or a checkpoint do not fit the run."""
        if settings.compare and not settings.test:
            raise ValueError("run.compare needs the test split: leave run.test true, or set run.compare to [].")
        if settings.test:
            self.datamodule.check_test_labels()
        self.model.check_data(self.datamodule)
        _check_checkpoint(self._get(self.config_init, "ckpt_path"))

    def before_fit(self) -> None:
        """Warn of an emulated precision, and start the clock."""
        warn_of_emulated_precision(self.trainer)
        self._started = time.perf_counter()

    def after_fit(self) -> None:
        """Test the run, train and test its controls, write the summary."""
        seconds = time.perf_counter() - self._started
        settings: RunSettings = self._get(self.config_init, "run")
        self.arms = []
        if self.trainer.interrupted or not (settings.test or self.model.staged):
            close(self.trainer)
            print_files(self.run_folder)
            return
        self.arms = Comparison(self, settings).train_arms(seconds)
        if self.trainer.is_global_zero and self.arms:
            seed = self._get(self.config, "seed_everything")
            write_summary(self.run_folder / "summary.json", settings.name, seed, self.arms)
            print_summary(self.run_folder, self.arms)

    before_retrain, after_retrain = before_fit, after_fit

    def build_anew(self, changes: dict[str, Any], folder: Path, settings: RunSettings) -> Training:
        """Build the configured objects once more, with changed fields of the model, for another folder."""
        config = self.config[self.subcommand].clone()
        for field_name, value in changes.items():
            config[f"model.{field_name}"] = value
        self.config_dump["model"].update(changes)  # checkpoints hold it
        pl.seed_everything(config["seed_everything"], workers=True)
        objects = self._parser(self.subcommand).instantiate_classes(config)
        trainer = self.trainer_class(**{**objects["trainer"], **in_folder(objects["trainer"], settings, folder)})
        return Training(trainer, objects["model"], objects["data"], folder)

    def predict(self, **kwargs: Any) -> None:
        """Predict, and write the class probabilities of every image beside the run's checkpoints."""
        batches = cast(list[Tensor], self.trainer.predict(**kwargs) or [])
        checkpoint = Path(str(self._get(self.config_init, "ckpt_path")))
        path = checkpoint.parent.parent / "predictions.csv"
        files = self.datamodule.test_images.sources()
        data = self.datamodule
        write_predictions(path, torch.cat(batches), data.class_names, files, data.multilabel)
        Console().print(f"Predictions: {path}", soft_wrap=True)


def _check_checkpoint(path: str | Path | None) -> None:
    """Raise FileNotFoundError if a checkpoint on disk is configured and missing."""
    name = str(path)
    if name.endswith(".ckpt") and "://" not in name and not Path(name).exists():
        raise FileNotFoundError(f"ckpt_path: there is no checkpoint {name}.")


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
    """Run the command line; report errors as one paragraph on the terminal instead of a traceback.

    The process then ends with 2 for a mistake of the user, 1 for a full disk or a lost process, and 128 + the number of
    the signal after SIGINT (Ctrl-C) or SIGTERM.

    Args:
        args: Arguments as a list, instead of those of the process.

    Returns:
        The command line interface with its trainer, model and data, for callers from Python.
    """
    quieten()
    keep_memory()
    try:
        with interruptible(), mistakes_in_one_line():
            return build_cli(args)
    except Interrupted as stop:
        if not getattr(stop, "__notes__", None):  # outside of training and testing
            print(stop, file=sys.stderr)
        raise
