"""Settings of a run, and the loggers, callbacks and checkpoint plugin of its trainer; a warning of slow precisions."""

import os
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.utilities import rank_zero_warn

from lightning_modules.callbacks import (
    ExactResume,
    PolicyPictures,
    PolicyWriter,
    SafeStop,
    SampleWriter,
    Throughput,
)
from lightning_modules.commands.checkpoint_io import AtomicCheckpointIO
from lightning_modules.learner.checks import check_numbers, require_package
from lightning_modules.learner.policy_choice import Control
from lightning_modules.monitoring.metrics_file import AtomicCSVLogger
from lightning_modules.monitoring.run_files import require_writable

_TRAINER_RANGES = {
    "accumulate_grad_batches": "[1, 1000000] or null",
    "check_val_every_n_epoch": "[1, 1000000] or null",
    "gradient_clip_val": "[0, 1e9] or null",
    "limit_val_batches": "[0, 1000000000] or null",
    "log_every_n_steps": "[0, 1000000000] or null",
    "min_epochs": "[0, 1000000000] or null",
    "min_steps": "[0, 1000000000] or null",
    "num_nodes": "[1, 100000]",
    "reload_dataloaders_every_n_epochs": "[0, 1000000000]",
    "num_sanity_val_steps": "[-1, 1000000] or null",
    "overfit_batches": "[0, 1000000000] or null",
    "val_check_interval": "(0, 1000000000] or null",
}
_MOST_BATCHES = 1_000_000_000
_LONGEST_NAME = 200  # bytes; file systems allow 255, of which `-2` and temporary files take some


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Folder, logs and controls of a run.

    Args:
        name: Name of the run; it writes into `folder/name`, or `folder/name-2`, ... if that is taken.
        folder: Folder of all runs.
        wandb: W&B logging: `offline` (files only, no account), `online`, or `disabled`.
        tensorboard: Log to TensorBoard too, into the folder `tensorboard` of the run.
        compare: Controls to train after the run, with the same data and seed, for the table at the end.
        test: Read the test split once after training, for the run and for each control in `compare`.
        threads: CPU threads; by default the choice of torch.
    """

    name: str = "run"
    folder: str = "runs"
    wandb: Literal["offline", "online", "disabled"] = "offline"
    tensorboard: bool = False
    compare: list[Control] = field(default_factory=list)
    test: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        check_numbers("run.", "[1, 1024] or null", threads=self.threads)
        for name, text in (("name", self.name), ("folder", self.folder)):
            if text in (None, "null") or not text.strip():
                raise ValueError(f"run.{name} must be a name, found {'null' if text is None else repr(text)}.")
        if len(set(self.compare)) < len(self.compare):
            raise ValueError(f"run.compare: each control may be given once, found {', '.join(self.compare)}.")


def check_trainer(trainer: Any) -> None:
    """Raise ValueError, naming the setting, for settings of a trainer that Lightning takes and cannot train with."""
    get = trainer.get
    for name, interval in _TRAINER_RANGES.items():
        check_numbers("trainer.", interval, **{name: get(name)})
    for name in ("limit_train_batches", "limit_test_batches"):
        value = get(name)
        if value is not None and not 0 < value <= _MOST_BATCHES:
            remedy = "set run.test to false to leave the test out" if "test" in name else "leave it out for all batches"
            raise ValueError(f"trainer.{name} must be > 0 and finite, found {value}: {remedy}.")
    for name in ("max_epochs", "max_steps"):
        if get(name) is not None and get(name) != -1:
            check_numbers("trainer.", "[1, 1000000000]", **{name: get(name)})
    if re.fullmatch(r"[0:]+", str(get("max_time"))):
        raise ValueError(
            f"trainer.max_time leaves no time to train, found {get('max_time')}: give DD:HH:MM:SS, or null."
        )
    if get("accelerator") == "tpu" and find_spec("torch_xla") is None:
        raise ValueError("trainer.accelerator tpu needs the package torch_xla: install it, or take auto.")
    devices, most = str(get("devices")), max(os.cpu_count() or 1, 4)
    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = get("accelerator") == "cpu" or (get("accelerator") == "auto" and not accelerated)
    if on_cpu and devices not in ("auto", "None", "-1") and not (devices.isdigit() and 1 <= int(devices) <= most):
        raise ValueError(
            f"trainer.devices are processes on the cores of the CPU, found {devices}: set it to 1, or to {most} at "
            "most on this machine."
        )


def check_folder(settings: RunSettings) -> None:
    """Raise ValueError if the run cannot have a folder of its name, or not write into it."""
    name = settings.name
    parts = name.split("/")
    longest = max(len(part.encode()) for part in parts)
    if not name.isprintable() or any(part.startswith(".") or not part for part in parts) or longest > _LONGEST_NAME:
        raise ValueError(
            f"run.name={name!r} cannot be the name of a folder in run.folder: give at most {_LONGEST_NAME} printable "
            "characters that do not begin with a dot or a slash."
        )
    require_writable(Path(settings.folder) / name, "run.folder")


def in_folder(trainer: Any, settings: RunSettings, folder: Path) -> dict[str, Any]:
    """Return arguments that make a trainer write into a folder; the settings of the user are kept.

    Raises:
        ValueError: If TensorBoard is configured and not installed.
    """
    own: list[Callback] = [ExactResume(), PolicyWriter(), PolicyPictures(), SampleWriter(), Throughput()]
    if trainer.get("enable_progress_bar") is not False:
        own.insert(0, RichProgressBar())
    if trainer.get("enable_checkpointing") is not False:
        # replaces `last.ckpt` after every epoch; `save_last` alone writes once in new versions of Lightning
        every_epoch = ModelCheckpoint(dirpath=folder / "checkpoints", filename="last", enable_version_counter=False)
        own[:0] = [every_epoch, SafeStop()]
    callbacks: list[Callback] = list(trainer.get("callbacks") or [])
    kinds = {type(callback) for callback in callbacks}
    callbacks += [callback for callback in own if type(callback) not in kinds]
    arguments: dict[str, Any] = {
        "callbacks": callbacks,
        "default_root_dir": str(folder),
        "plugins": atomic_plugins(trainer),
    }
    if trainer.get("logger") is None:
        arguments["logger"] = _loggers(settings, folder)
    return arguments


def atomic_plugins(trainer: Any) -> list[Any]:
    """Return the plugins of the trainer, with `AtomicCheckpointIO` unless one of them writes checkpoints."""
    plugins = trainer.get("plugins") or []
    plugins = list(plugins) if isinstance(plugins, list) else [plugins]
    return plugins if any(isinstance(one, CheckpointIO) for one in plugins) else [*plugins, AtomicCheckpointIO()]


def _loggers(settings: RunSettings, folder: Path) -> list[Logger]:
    """Return the loggers of a run: CSV file, W&B and TensorBoard, as configured."""
    loggers: list[Logger] = [AtomicCSVLogger(folder, name="", version="")]
    if settings.wandb != "disabled":
        offline = settings.wandb == "offline"
        loggers.append(WandbLogger(settings.name, save_dir=folder, project="augfluence", offline=offline))
    if settings.tensorboard:
        require_package("tensorboard", "tensorboard", "run.tensorboard")
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    return loggers


def bf16_is_emulated() -> bool:
    """Return True if this processor has no arithmetic for bfloat16."""
    return torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")  # those without AVX-512 or similar


def warn_of_emulated_precision(trainer: pl.Trainer) -> None:
    """Warn if a run uses bfloat16 on a processor that emulates it."""
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and trainer.precision == "bf16-mixed" and bf16_is_emulated():
        processor = torch.backends.cpu.get_cpu_capability()
        rank_zero_warn(
            f"trainer.precision is bf16-mixed, which this processor ({processor}) has to emulate: training may take "
            "several times as long as with trainer.precision: 32-true."
        )
