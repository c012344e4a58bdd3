"""Checkpoints of version 0.1.0, read by later ones."""

from typing import Any

_CALLBACK = "LearnedAugmentation"
_MOVED = {"policy_learner": "learner", "sample_weights": "samples"}
_COPIES = "augmentation."  # of the weights under `augnet.` and `base.`


def modernize(checkpoint: dict[str, Any]) -> None:
    """Bring a checkpoint of an `AugmentedClassifier` into the present form, in place; a present one stays as it is.

    Version 0.1.0 kept the state of the learner at the top level of the checkpoint, and a second copy of the policy's
    weights; they belong to the state of the callback `LearnedAugmentation` now.

    Args:
        checkpoint: As `torch.load` returns it.
    """
    weights = checkpoint["state_dict"]
    for name in [name for name in weights if name.startswith(_COPIES)]:
        del weights[name]
    moved = {new: checkpoint.pop(old) for old, new in _MOVED.items() if old in checkpoint}
    if moved:
        policy = {name.removeprefix("augnet."): part for name, part in weights.items() if name.startswith("augnet.")}
        checkpoint.setdefault("callbacks", {})[_CALLBACK] = {"policy": policy, **moved}
