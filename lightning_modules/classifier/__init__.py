"""The classifier that the command line trains: networks, optimization, augmentation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
    from lightning_modules.classifier.classifier import Classifier

_HOMES = {"AugmentedClassifier": "augmented_classifier", "Classifier": "classifier"}

__all__ = ["AugmentedClassifier", "Classifier"]


def __getattr__(name: str) -> Any:
    """Import a class when it is first asked for: its module imports others of this package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
