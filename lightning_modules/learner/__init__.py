"""Learning of an augmentation policy in anybody's training loop: torch, augnet and influence, no Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.learner.guard import GuardSettings
    from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate
    from lightning_modules.learner.settings import LearnerSettings

_HOMES = {
    "GuardSettings": "guard",
    "LearnerSettings": "settings",
    "PolicyLearner": "policy_learner",
    "PolicyUpdate": "policy_learner",
}

__all__ = ["GuardSettings", "LearnerSettings", "PolicyLearner", "PolicyUpdate"]


def __getattr__(name: str) -> Any:
    """Import a class when it is first asked for: its module imports others of this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
