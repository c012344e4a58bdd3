"""The four disjoint splits of a data module."""

from collections.abc import Callable
from dataclasses import dataclass

from lightning_modules.data.labelled_images import LabelledImages


@dataclass(frozen=True)
class Splits:
    """Training, influence, validation and test images; the test images are loaded at their first use.

    Attributes:
        train: Training images.
        influence: Images of the influence set.
        validation: Images of the validation split.
        load_test: Loads the test images.
        class_names: Names of the classes, in the order of the labels.
        deployment: True if the influence images come from deployment, False if they are a part of the training data.
    """

    train: LabelledImages
    influence: LabelledImages
    validation: LabelledImages
    load_test: Callable[[], LabelledImages]
    class_names: tuple[str, ...]
    deployment: bool = False
