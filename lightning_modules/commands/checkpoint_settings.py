"""The settings of a model in a checkpoint, against those that are given with it."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import isfunction
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from augnet.ops.registry import current_names
from lightning_modules.commands.renamed_settings import with_new_names
from lightning_modules.learner.paths import expanded
from lightning_modules.moved import MOVED

_NEW_IN_RETRAIN = ("policy_file", "control", "samples")  # settings that the command itself decides
_OF_NETWORK = ("model", "model_kwargs", "pixel_mean", "pixel_std", "num_classes", "in_channels")
_TRAIN = ("fit", "retrain")


def settings_in(checkpoint: Path) -> dict[str, Any]:
    """The settings of the model that a checkpoint was written with, by their present names; empty if it has none."""
    try:
        written = torch.load(checkpoint, weights_only=True, map_location="cpu")
    except (UnpicklingError, RuntimeError, EOFError, KeyError):
        return {}  # what cannot be read is said by what loads the weights
    hparams = written.get("hyper_parameters", {}) if isinstance(written, dict) else {}
    hparams = {name: value for name, value in hparams.items() if not name.startswith("_")}
    settings: dict[str, Any] = with_new_names({"model": hparams})["model"] if hparams else {}
    return settings


def check_given(given: Mapping[str, Any], written: Mapping[str, Any], command: str, checkpoint: Path) -> None:
    """Raise ValueError if a setting of the model is given that is another one in the checkpoint.

    The weights, the optimizer and the policy of a checkpoint go on with the settings that they were trained with. A
    command that trains nothing asks for the settings of the network alone.

    Args:
        given: Settings of the model on the command line and in configurations, without defaults.
        written: Those in the checkpoint.
        command: Of the command line.
        checkpoint: For the message.
    """
    skipped = _NEW_IN_RETRAIN if command == "retrain" else ()
    compared = set(given) - set(skipped) if command in _TRAIN else set(given) & set(_OF_NETWORK)
    kept = {name: value for name, value in given.items() if name in compared}
    found = [
        f"model.{name} is {ours!r} here and {theirs!r} there" for name, ours, theirs in _differences(kept, written, ())
    ]
    if found:
        raise ValueError(
            f"{'; '.join(found[:5])} (there: the checkpoint {checkpoint}). A checkpoint goes on with the settings of "
            "its run: leave these out, or begin a new run."
        )


def _differences(
    given: Mapping[str, Any], written: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted name and both values of each setting that differs; settings that only one side has are left out."""
    for name, value in given.items():
        if name not in written:
            continue
        ours, theirs = _comparable(name, value), _comparable(name, written[name])
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping) and name not in ("ops", "model_kwargs"):
            yield from _differences(ours, theirs, (*path, name))
        elif ours != theirs:
            yield ".".join((*path, name)), value, written[name]


def _comparable(name: str, value: Any) -> Any:
    """A setting in one form: lists for sequences, absolute paths, current names of ops, modules and functions."""
    if name == "ops":
        names = current_names(value)
        return dict(zip(names, value.values(), strict=True)) if isinstance(value, Mapping) else sorted(names)
    if name == "policy_file" and value is not None:
        return str(Path(expanded(str(value))).resolve())
    if isfunction(value):  # checkpoints hold its name
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, str):
        for old, new in MOVED.items():
            value = value.replace(f"lightning_modules.{old}.", f"lightning_modules.{new}.")
        return value
    if isinstance(value, Sequence):
        same = name.startswith("pixel_") and len(set(value)) == 1  # one number for all channels
        return value[0] if same else list(value)
    return value
