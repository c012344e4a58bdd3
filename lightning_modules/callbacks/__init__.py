"""Callbacks: learned augmentation for any LightningModule, and those that watch a run and write its files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.callbacks.exact_resume import ExactResume
    from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation
    from lightning_modules.callbacks.pictures import PolicyPictures
    from lightning_modules.callbacks.policy_writer import PolicyWriter
    from lightning_modules.callbacks.safe_stop import SafeStop
    from lightning_modules.callbacks.sample_writer import SampleWriter
    from lightning_modules.callbacks.throughput import Throughput

_HOMES = {
    "ExactResume": "exact_resume",
    "LearnedAugmentation": "learned_augmentation",
    "PolicyPictures": "pictures",
    "PolicyWriter": "policy_writer",
    "SafeStop": "safe_stop",
    "SampleWriter": "sample_writer",
    "Throughput": "throughput",
}

__all__ = [
    "ExactResume",
    "LearnedAugmentation",
    "PolicyPictures",
    "PolicyWriter",
    "SafeStop",
    "SampleWriter",
    "Throughput",
]


def __getattr__(name: str) -> Any:
    """Import a callback when it is first asked for: the pictures of a run alone take a second."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
