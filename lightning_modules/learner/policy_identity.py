"""Identity of the policy that a saved state belongs to: its kind, ops, bounds and all else that it is built from."""

from collections.abc import Mapping
from typing import Any

from torch import nn

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


def check_state(state: Any, augnet: AugNet[Any, Any] | None, control: str) -> None:
    """Raise ValueError unless a saved state can be taken by a policy, None for none, under a control."""
    if not isinstance(state, Mapping) or not {"policy", "identity", "control"}.intersection(state):
        found = ", ".join(map(str, list(state)[:5])) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(
            f"expected the state_dict of an Augmenter or of LearnedAugmentation, found {found or 'nothing'}."
        )
    if state.get("control", control) != control:  # which version 0.1.0 did not write
        raise ValueError(
            f"control is {control} here and {state['control']} in the saved state: resume with that, or begin anew."
        )
    if augnet is None:
        return
    if "policy" not in state:
        raise ValueError("the saved state has no policy (control plain): begin a new run, or resume with plain.")
    if state.get("identity") is not None:
        check_identity(augnet, state["identity"])
    if any(bool(part.isnan().any()) for part in state["policy"].values()):
        raise ValueError("the policy of the saved state is NaN: resume from an earlier one, or begin anew.")


def check_head(state: Mapping[str, Any], head: nn.Linear) -> None:
    """Raise ValueError if the saved state of a learner is of another last layer; one that never solved fits all."""
    solution = state["influence"]["solution"]
    there = None if solution is None else tuple(solution["value"].shape)
    here = (head.out_features, head.in_features + 1)
    if there not in (None, here):
        raise ValueError(
            f"the last layer has {here[0]} outputs and {here[1] - 1} features here, {there[0]} and {there[1] - 1} in "
            "the saved state: resume with the classifier that it was saved with, or begin anew."
        )
