"""Learned image augmentation by influence functions: the names most programs need, each imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augnet import AugNet, TransformSpace, load_policy, save_policy
    from influence import LastLayerHessian, solve, upweight_influence
    from lightning_modules.callbacks import LearnedAugmentation
    from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
    from lightning_modules.data import ImageDataModule
    from lightning_modules.learner.augmenter import Augmenter
    from lightning_modules.learner.guard import GuardSettings
    from lightning_modules.learner.policy_learner import PolicyLearner
    from lightning_modules.learner.settings import LearnerSettings

__version__ = "0.2.0"

__all__ = [
    "AugNet",
    "AugmentedClassifier",
    "Augmenter",
    "GuardSettings",
    "ImageDataModule",
    "LastLayerHessian",
    "LearnedAugmentation",
    "LearnerSettings",
    "PolicyLearner",
    "TransformSpace",
    "__version__",
    "load_policy",
    "save_policy",
    "solve",
    "upweight_influence",
]

_HOMES = {
    "AugNet": "augnet",
    "AugmentedClassifier": "lightning_modules.classifier.augmented_classifier",
    "Augmenter": "lightning_modules.learner.augmenter",
    "GuardSettings": "lightning_modules.learner.guard",
    "ImageDataModule": "lightning_modules.data",
    "LastLayerHessian": "influence",
    "LearnedAugmentation": "lightning_modules.callbacks.learned_augmentation",
    "LearnerSettings": "lightning_modules.learner.settings",
    "PolicyLearner": "lightning_modules.learner.policy_learner",
    "TransformSpace": "augnet",
    "load_policy": "augnet",
    "save_policy": "augnet",
    "solve": "influence",
    "upweight_influence": "influence",
}

if not TYPE_CHECKING:  # a type checker shall know no other names

    def __getattr__(name: str) -> object:
        """Import a name from its own module when it is first used: some of them need Lightning, which takes seconds."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(_HOMES[name]), name))


def __dir__() -> list[str]:
    """Return the names above, imported or not."""
    return sorted({*globals(), *__all__})
