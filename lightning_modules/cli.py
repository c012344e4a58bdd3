"""The command line: Lightning's commands, `attribute` and `adapt`; every field typed, documented, overridable."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from rich.console import Console
from torch import Tensor

from lightning_modules.augmented_classifier import AugmentedClassifier, Control
from lightning_modules.callbacks import ExactResume, PolicyPictures, PolicyWriter
from lightning_modules.command_line import mistakes_in_one_line, quieten
from lightning_modules.data import InfluenceDataModule
from lightning_modules.policy_choice import has_uniform
from lightning_modules.summary import (
    ArmResult,
    next_free_folder,
    print_summary,
    write_predictions,
    write_summary,
)
from lightning_modules.trainer import AugfluenceTrainer


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where a run writes, and what it is compared with.

    Args:
        name: Name of the run; it writes into `folder/name`, or `folder/name-2`, ... if that is taken.
        folder: Folder of all runs.
        wandb: W&B logging: `offline` (files only, no account), `online`, or `disabled`.
        compare: Controls to train after the run, with the same data and seed, for the table at the end.
        test: Read the test split once after training, for the run and for each control in `compare`.
        threads: CPU threads; by default what torch chooses.
    """

    name: str = "run"
    folder: str = "runs"
    wandb: Literal["offline", "online", "disabled"] = "offline"
    compare: list[Control] = field(default_factory=list)
    test: bool = True
    threads: int | None = None


class AugfluenceCLI(LightningCLI):
    """LightningCLI with a folder for each run, loggers, and a comparison at the end of `fit`."""

    model: AugmentedClassifier
    run_folder: Path
    arms: list[ArmResult]
    _started: float

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, `attribute` and `adapt`."""
        own = ("attribute", "adapt")
        return {**LightningCLI.subcommands(), **{command: {"model", "datamodule"} for command in own}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the `run` group; classes, channels and size of the images come from the data."""
        parser.add_argument("--run", type=RunSettings, default=RunSettings(), help="Folder, logging, comparison.")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments("data.in_channels", "model.in_channels", apply_on="instantiate")
        parser.link_arguments("data.image_size", "model.image_size", apply_on="instantiate")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Give the trainer the run's folder, its loggers and its callbacks; without a command it has none of them."""
        settings: RunSettings = self._get(self.config_init, "run")
        trainer = self._get(self.config_init, "trainer")
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        if self.subcommand is None:
            return super().instantiate_trainer(logger=False, **kwargs)
        if self.subcommand != "fit":
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
        self.run_folder = next_free_folder(Path(settings.folder) / settings.name)
        try:
            return super().instantiate_trainer(**_in_folder(trainer, settings, self.run_folder), **kwargs)
        except BaseException:
            self.run_folder.rmdir()  # still empty
            raise

    def before_fit(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def after_fit(self) -> None:
        """Test the run, train and test the controls it is compared with, write the summary."""
        seconds = time.perf_counter() - self._started
        settings: RunSettings = self._get(self.config_init, "run")
        self.arms = []
        if self.trainer.interrupted or not settings.test:
            Console().print(f"Files of this run: {self.run_folder}", soft_wrap=True)
            return
        self.arms.append(_result(self.trainer, self.model, self.datamodule, seconds))
        for control in settings.compare:
            if control == self.model.control:
                continue
            if control == "uniform" and not has_uniform(self.model.hparams["policy"]):
                Console().print("Left out: control uniform has no meaning for this policy.")
                continue
            Console().print(f"Comparing with control: {control}")
            self.arms.append(self._train_control(control, settings))
        if self.trainer.is_global_zero:
            seed = self._get(self.config, "seed_everything")
            write_summary(self.run_folder / "summary.json", settings.name, seed, self.arms)
            print_summary(self.run_folder, self.arms)

    def _train_control(self, control: Control, settings: RunSettings) -> ArmResult:
        """Train and test the same configuration with another control, in a folder inside the run's."""
        config = self.config[self.subcommand].clone()
        config["model.control"] = control
        config["model.policy_file"] = None
        self.config_dump["model"].update(control=control, policy_file=None)  # what the checkpoint will say
        pl.seed_everything(config["seed_everything"], workers=True)
        objects = self._parser(self.subcommand).instantiate_classes(config)
        folder = next_free_folder(self.run_folder / control)
        named = replace(settings, name=f"{settings.name}/{control}")
        trainer = self.trainer_class(**{**objects["trainer"], **_in_folder(objects["trainer"], named, folder)})
        started = time.perf_counter()
        trainer.fit(objects["model"], datamodule=objects["data"])
        return _result(trainer, objects["model"], objects["data"], time.perf_counter() - started)

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


def _in_folder(trainer: Any, settings: RunSettings, folder: Path) -> dict[str, Any]:
    """Arguments that make a trainer write into `folder`; what the user configured stays."""
    callbacks: list[Callback] = list(trainer.get("callbacks") or [])
    kinds = {type(callback) for callback in callbacks}
    if trainer.get("enable_checkpointing") is not False and ModelCheckpoint not in kinds:
        callbacks.append(ModelCheckpoint(dirpath=folder / "checkpoints", save_last=True, save_top_k=0))
    if trainer.get("enable_progress_bar") is not False and RichProgressBar not in kinds:
        callbacks.append(RichProgressBar())
    callbacks += [callback() for callback in (ExactResume, PolicyWriter, PolicyPictures) if callback not in kinds]
    arguments: dict[str, Any] = {"callbacks": callbacks, "default_root_dir": str(folder)}
    if trainer.get("logger") is None:
        arguments["logger"] = _loggers(settings, folder)
    return arguments


def _loggers(settings: RunSettings, folder: Path) -> list[Logger]:
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    if settings.wandb != "disabled":
        offline = settings.wandb == "offline"
        loggers.append(WandbLogger(settings.name, save_dir=folder, project="augfluence", offline=offline))
    return loggers


def _result(trainer: pl.Trainer, model: AugmentedClassifier, data: Any, seconds: float) -> ArmResult:
    """Read the test split once."""
    metrics = trainer.test(model, datamodule=data, verbose=False)[0]
    name = "learned" if model.control == "none" else model.control
    ranges = {} if model.augnet is None else model.augnet.describe()
    for logger in trainer.loggers:
        logger.finalize("success")
    if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        import wandb

        wandb.finish()
    return ArmResult(name, metrics["test/acc"], seconds, ranges)


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
    """Run the command line; a user's mistake becomes one line on the terminal instead of a traceback.

    Args:
        args: Arguments as a list, instead of those of the process.

    Returns:
        The command line interface with its trainer, model and data, for callers from Python.
    """
    quieten()
    with mistakes_in_one_line():
        return build_cli(args)
