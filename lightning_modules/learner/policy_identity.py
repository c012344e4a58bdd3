"""Identity of the policy that a saved state belongs to: its kind, ops, bounds and all else that it is built from."""

from collections.abc import Mapping
from typing import Any

from augnet import AugNet


def identity_of(augnet: AugNet[Any, Any]) -> dict[str, Any]:
    """Kind, ops with their bounds, and the other settings of a policy and its space; plain values."""
    space = augnet.space.config()
    bounds = {f"bound of {name}": bound for name, bound in space.pop("bounds", {}).items()}
    return {"kind": augnet.policy.kind, **bounds, **space, **augnet.policy.config()}


def check_identity(augnet: AugNet[Any, Any], saved: Mapping[str, Any]) -> None:
    """Raise ValueError, with both values, if the `identity_of` a saved state is not that of the policy to take it."""
    own = identity_of(augnet)
    found = [
        f"{name} is {own.get(name, 'missing')} here and {saved.get(name, 'missing')} there"
        for name in {**own, **saved}
        if own.get(name) != saved.get(name)
    ]
    if found:
        raise ValueError(
            f"the saved state is of another policy: {'; '.join(found[:5])}. Resume with the ops, bounds and kind of "
            "policy that it was saved with, or begin anew."
        )
