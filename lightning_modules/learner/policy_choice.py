"""The policies that can be asked for by name, or read from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    load_policy,
)
from augnet.classic import classic_space
from augnet.policies import Policy
from lightning_modules.learner.checks import check_choice, check_numbers

PolicyName = Literal[
    "ranges", "intervals", "mixture", "trivial_augment_mixture", "conditional", "class_conditional", "field"
]
Control = Literal["none", "plain", "uniform", "shuffled", "flipped", "identity_hessian", "wrong_domain"]
_MIXTURES: tuple[PolicyName, ...] = ("mixture", "trivial_augment_mixture")
_NEED_IMAGES: tuple[PolicyName, ...] = ("conditional", "class_conditional", "field")


@dataclass(frozen=True, kw_only=True)
class PolicyChoice:
    """The policy of a run, as its user asks for it: the arguments of `build_policy`, or a saved policy.

    A policy from a `file` is frozen; the control `plain` has no policy, `uniform` one that does not learn.

    Raises:
        ValueError: If a field is not one of its choices, or a file is to be used with a control.
        FileNotFoundError: If there is no such file.
    """

    name: PolicyName
    ops: Sequence[str] | Mapping[str, float]
    ops_per_image: int = 1
    initial_range: float = 0.1
    file: str | None = None
    control: Control = "none"

    def __post_init__(self) -> None:
        check_choice("control", self.control, Control)
        check_choice("policy", self.name, PolicyName)
        check_numbers("", "(0, 1]", initial_range=self.initial_range)
        if self.ops_per_image != 1 and self.file is None and self.name not in _MIXTURES:
            raise ValueError(
                f"ops_per_image is for the policies {' and '.join(_MIXTURES)}, found {self.ops_per_image} with policy "
                f"{self.name}, which does all ops to every image: leave it out."
            )
        if self.file is not None and self.control != "none":
            raise ValueError(f"policy_file fixes the policy: control must be none, found {self.control!r}.")
        if self.file is not None and not Path(self.file).is_file():
            raise FileNotFoundError(f"policy_file: there is no file {self.file}.")

    @property
    def learns(self) -> bool:
        """True if the policy is learned."""
        return self.file is None and self.control not in ("plain", "uniform")

    @property
    def needs_images(self) -> bool:
        """True if the channels, the size or the classes of the images must be known to build it."""
        return self.learns and self.name in _NEED_IMAGES

    def build(
        self,
        in_channels: int | None = None,
        num_classes: int | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> AugNet[Any, Any] | None:
        """Build the policy, without gradients; None for the control `plain`, after all checks.

        An argument may be None unless the policy `needs_images`.

        Raises:
            ValueError: If an argument is out of range, or the policy does not fit the images or the classes.
        """
        if self.control == "plain" and self.name in _NEED_IMAGES and in_channels is None:
            return None
        if self.file is not None:
            augnet = load_policy(self.file)
        else:
            augnet = build_policy(
                self.name,
                self.ops,
                initial_range=self.initial_range,
                ops_per_image=self.ops_per_image,
                in_channels=in_channels or 0,
                num_classes=num_classes or 0,
                image_size=image_size,
                uniform=self.control == "uniform",
            )
        check_fit(augnet, in_channels, num_classes, image_size)
        return None if self.control == "plain" else augnet.requires_grad_(False)


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
    """Return True if a policy can be compared with a uniform one over the same space."""
    return name != "field"


def check_fit(
    augnet: AugNet[Any, Any],
    in_channels: int | None = None,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
) -> None:
    """Raise ValueError if a policy is for other images or classes; None is not checked."""
    if in_channels is not None:
        augnet.space.check_channels(in_channels)
    if isinstance(augnet.space, FieldSpace) and image_size not in (None, augnet.space.size):
        expected, found = (f"{height}x{width}" for height, width in (augnet.space.size, image_size))
        raise ValueError(f"this policy is for images of {expected} pixels, found {found}: resize them.")
    policy = augnet.policy
    if in_channels is not None and policy.in_channels not in (0, in_channels):
        raise ValueError(f"this policy looks at images with {policy.in_channels} channels, found {in_channels}.")
    if num_classes is not None and policy.num_classes not in (0, num_classes):
        raise ValueError(f"this policy is for {policy.num_classes} classes, found {num_classes}.")
