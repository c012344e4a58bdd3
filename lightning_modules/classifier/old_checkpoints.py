"""Checkpoints of version 0.1.0, read by later ones."""

import io
from pathlib import Path
from typing import Any

import torch

from lightning_modules.learner.settings import without_removed

_CALLBACK = "LearnedAugmentation"
_MOVED = {"policy_learner": "learner", "sample_weights": "samples"}
_COPIES = "augmentation."  # of the weights under `augnet.` and `base.`


def modernize(checkpoint: dict[str, Any]) -> None:
    """Bring a checkpoint of an `AugmentedClassifier` into the present form, in place; a present one stays as it is.

    Version 0.1.0 kept the state of the learner at the top level of the checkpoint, which belongs to the state of the
    callback `LearnedAugmentation` now, a second copy of the policy's weights, and settings that were removed, for which
    see `without_removed`.
    """
    weights, hparams = checkpoint["state_dict"], checkpoint.get("hyper_parameters", {})
    if "learner" in hparams:
        hparams["learner"] = without_removed(hparams["learner"])
    if "ops" in hparams:  # of an `AugmentedClassifier`, whose augmentation has no such weights now
        for name in [name for name in weights if name.startswith(_COPIES)]:
            del weights[name]
    moved = {new: checkpoint.pop(old) for old, new in _MOVED.items() if old in checkpoint}
    if moved:
        policy = {name.removeprefix("augnet."): part for name, part in weights.items() if name.startswith("augnet.")}
        checkpoint.setdefault("callbacks", {})[_CALLBACK] = {"policy": policy, **moved}


def modernized_file(path: Path, weights_only: bool | None) -> io.BytesIO:
    """A checkpoint in the present form, in memory; `weights_only` False only for files that you trust."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=weights_only is not False)
    modernize(checkpoint)
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    buffer.seek(0)
    return buffer
