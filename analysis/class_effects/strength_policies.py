"""Policies of one strength, and of a strength for each class, over one space of ops.

At strength s every op is uniform up to s times its bound. The random numbers of an image depend neither on its class
nor on the strength, so an image whose class keeps its strength is augmented to the same pixels by both policies.
"""

from collections.abc import Mapping, Sequence

import torch

from augnet import AugNet, ClassConditionalPolicy, RangePolicy, TransformSpace
from augnet.policies.base import initial_logits

Ops = Sequence[str] | Mapping[str, float]


def check_strengths(strengths: Sequence[float]) -> None:
    """Raise ValueError unless there are two or more increasing strengths in (0, 1]."""
    ordered = list(strengths) == sorted(set(strengths))
    if len(strengths) < 2 or not ordered or not all(0 < strength <= 1 for strength in strengths):
        raise ValueError(
            f"strengths: expected two or more increasing fractions of the bounds in (0, 1], found {list(strengths)}; "
            "for almost none take 0.01."
        )


def space_of(ops: Ops) -> TransformSpace:
    """Return the space of ops that augment every image on its own.

    Raises:
        ValueError: If an op mixes images, which then have no single class.
    """
    space = TransformSpace(ops)
    if space.mixes:
        raise ValueError(f"ops: {', '.join(ops)} mix images of different classes; leave mixup and cutmix out.")
    return space


def strength_policy(ops: Ops, strength: float) -> AugNet[RangePolicy, TransformSpace]:
    """Return the policy of one strength, in (0, 1]."""
    space = space_of(ops)
    return AugNet.from_ops(dict(zip(space.names, space.bounds, strict=True)), initial=strength)


def conditional_policy(ops: Ops, strengths: Sequence[float]) -> AugNet[ClassConditionalPolicy, TransformSpace]:
    """Return a policy with a strength for each class.

    Args:
        ops: Op names, or op names and their bounds.
        strengths: `[K]`, fractions of the bounds in (0, 1].
    """
    space = space_of(ops)
    policy = ClassConditionalPolicy(space, len(strengths))
    with torch.no_grad():
        policy.theta.copy_(torch.cat([initial_logits(strength, 1, len(space)) for strength in strengths]))
    return AugNet(space, policy)
