"""The policies that can be asked for by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from augnet import AugNet, ClassConditionalPolicy, ConditionalPolicy, MixturePolicy, RangePolicy, TransformSpace
from augnet.classic import classic_space
from augnet.policies import Policy

PolicyName = Literal["ranges", "mixture", "trivial_augment_mixture", "conditional", "class_conditional"]
MIXTURES: tuple[PolicyName, ...] = ("mixture", "trivial_augment_mixture")


def build_policy(
    name: PolicyName,
    ops: Sequence[str] | Mapping[str, float],
    *,
    initial_range: float,
    ops_per_image: int,
    in_channels: int,
    num_classes: int,
) -> AugNet[Any]:
    """A policy at its start.

    Args:
        name: Which one.
        ops: Op names, or op names and their bounds; `trivial_augment_mixture` has its own.
        initial_range: Half-widths at the start as a fraction of the bounds, for all but the mixtures.
        ops_per_image: 1 or 2, for the mixtures.
        in_channels: Channels of the images, for `conditional`.
        num_classes: For `class_conditional`.

    Raises:
        ValueError: If an argument is out of range or an op unknown.
    """
    space = classic_space() if name == "trivial_augment_mixture" else TransformSpace(ops)
    policy: Policy
    if name == "trivial_augment_mixture":
        policy = MixturePolicy.trivial_augment(ops_per_image=ops_per_image)
    elif name == "mixture":
        policy = MixturePolicy.over(space, ops_per_image=ops_per_image)
    elif name == "conditional":
        policy = ConditionalPolicy(space, in_channels, initial=initial_range)
    elif name == "class_conditional":
        policy = ClassConditionalPolicy(space, num_classes, initial_range)
    else:
        policy = RangePolicy(space.bounds, initial_range, space.signed)
    return AugNet(space, policy)


def uniform_policy(name: PolicyName, ops: Sequence[str] | Mapping[str, float], *, ops_per_image: int) -> AugNet[Any]:
    """What a policy is compared with: the prior of a mixture, otherwise every op uniform up to its bound."""
    start: PolicyName = name if name in MIXTURES else "ranges"
    return build_policy(start, ops, initial_range=1.0, ops_per_image=ops_per_image, in_channels=1, num_classes=1)
