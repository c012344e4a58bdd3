"""A finished run read from its folder: model, data, policy and seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from augnet import AugNet, load_policy
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.classifier.checkpoint import load_checkpoint
from lightning_modules.commands.cli import build_cli
from lightning_modules.data import InfluenceDataModule

_FIELDS = ("seed_everything", "model", "data")  # the rest of a configuration is about training


@dataclass(frozen=True)
class OpenedRun:
    """A finished run: its configuration as in `config.yaml`, and what is read with it.

    The model has its last weights and is in evaluation mode, without parameter gradients; the data load lazily; the
    policy is the last one, frozen, or None if the run was trained without one.
    """

    folder: Path
    config: Mapping[str, Any]
    seed: int
    model: AugmentedClassifier
    data: InfluenceDataModule
    policy: AugNet[Any, Any] | None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name


def open_run(folder: str | Path, device: str = "auto", data_path: str | None = None) -> OpenedRun:
    """Open a finished run.

    Args:
        folder: The folder that `train.py fit` wrote: `runs/NAME`.
        device: Device of the model: `auto` (a GPU if there is one), or a name that torch knows.
        data_path: Present place of the data, if it is not that of the run (`data.path`).

    Raises:
        FileNotFoundError: If the folder, or a file of it, is missing.
        ValueError: If the files do not fit together, or are damaged.
    """
    folder = Path(folder)
    config = _read_config(folder)
    fields = {name: config[name] for name in _FIELDS if name in config}
    if data_path is not None:
        fields["data"] = _moved(fields["data"], data_path)
    cli = build_cli(fields, run=False)
    model: AugmentedClassifier = cli.model
    data: InfluenceDataModule = cli.datamodule
    path = folder / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {path.relative_to(folder)}: train it to the end of an epoch first.")
    load_checkpoint(model, data.num_classes, path)
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return OpenedRun(
        folder=folder,
        config=config,
        seed=int(config.get("seed_everything") or 0),
        model=model.to(wanted).eval().requires_grad_(False),
        data=data,
        policy=_read_policy(folder, model),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run {folder}: give the folder that `train.py fit` wrote, runs/NAME.")
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no config.yaml: give the folder that `train.py fit` wrote.")
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML ({type(error).__name__}): restore the file that the run wrote.") from error
    if not isinstance(config, dict) or not {"model", "data"} <= config.keys():
        raise ValueError(f"{path} is no configuration of a run: expected the fields model and data.")
    return config


def _moved(data: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the configuration of the data at another place."""
    settings = data.get("init_args") or {}
    if "path" not in settings:
        raise ValueError(f"data_path: {data.get('class_path')} has no path; leave data_path out.")
    return {**data, "init_args": {**settings, "path": path}}


def _read_policy(folder: Path, model: AugmentedClassifier) -> AugNet[Any, Any] | None:
    path = folder / "policy.json"
    if path.is_file():
        return load_policy(path)
    if model.augnet is not None:
        raise FileNotFoundError(f"{folder} was trained with a policy and has no policy.json: restore the run's files.")
    return None
