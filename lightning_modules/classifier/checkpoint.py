"""Loading of checkpoints into classifiers, with checks of classes and shapes."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from lightning_modules.classifier.classifier import Classifier
from lightning_modules.classifier.old_checkpoints import modernize


def check_kind_of_labels(checkpoint: dict[str, Any], multilabel: bool, path: Path | None = None) -> None:
    """Raise ValueError if a checkpoint is of one label an image and the data of several, or the reverse."""
    kinds = ("one label an image", "several labels an image")
    written = bool(checkpoint.get("hyper_parameters", {}).get("multilabel", False))
    if written != multilabel:
        raise ValueError(
            f"the checkpoint{'' if path is None else f' {path}'} is of {kinds[written]}, the data have "
            f"{kinds[multilabel]}: give the data that it was trained with, best by --config of its run."
        )


def load_checkpoint(
    model: Classifier, data_classes: int, path: Path, weights_only: bool | None = None
) -> dict[str, Any]:
    """Load the weights of a run's checkpoint into a classifier for data of so many classes; return all of it.

    With `weights_only` False it unpickles arbitrary objects: only for checkpoints that you trust.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint of a run, or does not fit the model or the data.
    """
    if not path.is_file():
        raise FileNotFoundError(f"ckpt_path: there is no checkpoint {path}.")
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=weights_only is not False)
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(f"{path} is no checkpoint of a run, or a damaged one ({type(error).__name__}).") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{path} is no checkpoint of a run: expected the weights under 'state_dict'.")
    modernize(checkpoint)
    found = checkpoint.get("hyper_parameters", {}).get("num_classes", model.num_classes)
    if not found == model.num_classes == data_classes:
        raise ValueError(
            f"the checkpoint {path} is of {found} classes, the model of {model.num_classes}, the data have "
            f"{data_classes}: give the data that it was trained with, best by --config of its run."
        )
    check_kind_of_labels(checkpoint, model.multilabel, path)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    wrong = [name for name in {**expected, **given} if expected.get(name) != given.get(name)]
    if wrong:
        raise ValueError(
            f"the checkpoint {path} does not fit the model: {wrong[0]} is {given.get(wrong[0], 'missing')} there, "
            f"{expected.get(wrong[0], 'missing')} in the model: give the --config of its run."
        )
    model.load_state_dict(checkpoint["state_dict"])
    loaded: dict[str, Any] = checkpoint
    return loaded
