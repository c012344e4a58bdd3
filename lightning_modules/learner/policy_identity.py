"""What a saved state of a policy belongs to: its kind, ops and bounds, channels and classes."""

from collections.abc import Mapping
from typing import Any

from augnet import AugNet, TransformSpace


def identity_of(augnet: AugNet[Any, Any]) -> dict[str, Any]:
    """Kind, ops with their bounds, channels and classes of a policy; strings and numbers only."""
    policy, space = augnet.policy, augnet.space
    ops = dict(zip(space.names, space.bounds, strict=True)) if isinstance(space, TransformSpace) else {}
    known = {"kind": policy.kind, "channels": policy.in_channels, "classes": policy.num_classes}
    return {**known, **{f"bound of {name}": bound for name, bound in ops.items()}}


def check_identity(augnet: AugNet[Any, Any], saved: Mapping[str, Any]) -> None:
    """Raise ValueError, with both values, if a saved state is that of another policy.

    Args:
        augnet: The policy that is to take the state.
        saved: See `identity_of`.
    """
    own = identity_of(augnet)
    names = [*own, *(name for name in saved if name not in own)]
    found = [
        f"{name} is {own.get(name, 'missing')} here and {saved.get(name, 'missing')} there"
        for name in names
        if own.get(name) != saved.get(name)
    ]
    if found:
        raise ValueError(
            f"the saved state is of another policy: {'; '.join(found[:5])}. Resume with the ops, bounds and kind of "
            "policy that it was saved with, or begin anew."
        )
