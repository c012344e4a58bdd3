"""The policies that can be asked for by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from augnet import (
    AugNet,
    ClassConditionalPolicy,
    ConditionalPolicy,
    FieldSpace,
    IntervalPolicy,
    MixturePolicy,
    RangePolicy,
    TransformSpace,
)
from augnet.classic import classic_space
from augnet.policies import Policy

PolicyName = Literal[
    "ranges", "intervals", "mixture", "trivial_augment_mixture", "conditional", "class_conditional", "field"
]
_MIXTURES: tuple[PolicyName, ...] = ("mixture", "trivial_augment_mixture")


def build_policy(
    name: PolicyName,
    ops: Sequence[str] | Mapping[str, float],
    *,
    initial_range: float,
    ops_per_image: int,
    in_channels: int,
    num_classes: int,
    image_size: tuple[int, int] | None = None,
    uniform: bool = False,
) -> AugNet[Any, Any]:
    """A policy at its start.

    Args:
        name: Which one.
        ops: Op names, or op names and their bounds; `trivial_augment_mixture` has its own, `field` has none.
        initial_range: Half-widths at the start as a fraction of the bounds, for all but the mixtures and `field`.
        ops_per_image: 1 or 2, for the mixtures.
        in_channels: Channels of the images, for `conditional` and `field`.
        num_classes: For `class_conditional`.
        image_size: Height and width of the images in pixels, for `field`.
        uniform: Instead, what it is compared with: the prior of a mixture, otherwise every op uniform up to its bound.

    Raises:
        ValueError: If an argument is out of range or missing, an op unknown, or nothing is uniform over the policy.
    """
    if uniform and not has_uniform(name):
        raise ValueError(
            "control uniform has no meaning for a field network: it has no bounds to draw up to, and any code through "
            "its decoder at the start is the identity. Compare it with plain, shuffled, flipped or identity_hessian."
        )
    if name == "field":
        if image_size is None:
            raise ValueError("policy field is for images of one size: give image_size, height and width in pixels.")
        return AugNet.from_fields(in_channels, *image_size)
    if uniform and name not in _MIXTURES:
        name, initial_range = "ranges", 1.0
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
    elif name == "intervals":
        policy = IntervalPolicy(space, initial_range)
    else:
        policy = RangePolicy(space.bounds, initial_range, space.signed)
    return AugNet(space, policy)


def has_uniform(name: PolicyName) -> bool:
    """Whether a policy can be compared with a uniform one over the same space."""
    return name != "field"


def check_fit(
    augnet: AugNet[Any, Any], in_channels: int, num_classes: int, image_size: tuple[int, int] | None = None
) -> None:
    """Raise ValueError if a policy is for other images or classes; a size of None fits."""
    augnet.space.check_channels(in_channels)
    if isinstance(augnet.space, FieldSpace) and image_size not in (None, augnet.space.size):
        expected, found = (f"{height}x{width}" for height, width in (augnet.space.size, image_size))
        raise ValueError(f"this policy is for images of {expected} pixels, found {found}: resize them.")
    policy = augnet.policy
    if isinstance(policy, ConditionalPolicy) and policy.in_channels != in_channels:
        raise ValueError(f"this policy looks at images with {policy.in_channels} channels, found {in_channels}.")
    if isinstance(policy, ConditionalPolicy | ClassConditionalPolicy) and policy.num_classes not in (0, num_classes):
        raise ValueError(f"this policy is for {policy.num_classes} classes, found {num_classes}.")
