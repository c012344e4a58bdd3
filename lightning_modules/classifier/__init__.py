"""The classifier that the command line trains: networks, optimization, augmentation."""

from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.classifier.classifier import Classifier

__all__ = ["AugmentedClassifier", "Classifier"]
