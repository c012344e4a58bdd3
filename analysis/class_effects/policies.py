"""The policies of a strength sweep, and the class-conditional one that is made of them.

All are over one space. At strength s every op is uniform up to s times its bound; the class-conditional policy has a
strength for each class. The random numbers of an image depend neither on its class nor on the strength, so an image
whose class keeps its strength is augmented to the same pixels by both.

A file that runs are trained from is named after what is in it: another policy never takes its place.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from augnet import AugNet, ClassConditionalPolicy, TransformSpace, save_policy
from augnet.policies.base import initial_logits

Ops = Sequence[str] | Mapping[str, float]


def check_strengths(strengths: Sequence[float]) -> None:
    """Raise ValueError unless there are two or more increasing strengths in (0, 1]."""
    ordered = list(strengths) == sorted(set(strengths))
    if len(strengths) < 2 or not ordered or not all(0 < strength <= 1 for strength in strengths):
        raise ValueError(
            f"strengths: expected two or more increasing fractions of the bounds in (0, 1], found {list(strengths)}; "
            "for as good as none take 0.01."
        )


def space_of(ops: Ops) -> TransformSpace:
    """The space of a sweep.

    Raises:
        ValueError: If an op mixes images: they would have no single class.
    """
    space = TransformSpace(ops)
    if space.mixes:
        raise ValueError(f"ops: {', '.join(ops)} mix images of different classes; leave mixup and cutmix out.")
    return space


def write_strength(ops: Ops, strength: float, folder: Path) -> Path:
    """Write the policy of one strength, in (0, 1], and return its file `strength_S_HASH.json`."""
    space = space_of(ops)
    augnet = AugNet.from_ops(dict(zip(space.names, space.bounds, strict=True)), initial=strength)
    return _write(augnet, folder, f"strength_{strength:g}")


def write_conditional(ops: Ops, strengths: Sequence[float], folder: Path) -> Path:
    """Write the policy with a strength for each class, and return its file `class_conditional_HASH.json`."""
    return _write(conditional_policy(ops, strengths), folder, "class_conditional")


def conditional_policy(ops: Ops, strengths: Sequence[float]) -> AugNet[ClassConditionalPolicy, TransformSpace]:
    """A policy with a strength for each class.

    Args:
        ops: As for the sweep.
        strengths: `[K]`, fractions of the bounds in (0, 1].
    """
    space = space_of(ops)
    policy = ClassConditionalPolicy(space, len(strengths))
    with torch.no_grad():
        policy.theta.copy_(torch.cat([initial_logits(strength, 1, len(space)) for strength in strengths]))
    return AugNet(space, policy)


def _write(augnet: AugNet[Any, TransformSpace], folder: Path, name: str) -> Path:
    values = {key: tensor.tolist() for key, tensor in augnet.policy.state_dict().items()}
    content = json.dumps([augnet.space.config(), augnet.policy.config(), values])
    file = folder / f"{name}_{hashlib.sha256(content.encode()).hexdigest()[:8]}.json"
    save_policy(augnet, file)
    return file
