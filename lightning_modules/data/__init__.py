"""Data modules: four disjoint splits (training, influence, validation, test) of any image dataset."""

from lightning_modules.data.base import InfluenceDataModule, InfluenceSet, Splits
from lightning_modules.data.digits import DigitsDataModule
from lightning_modules.data.folds import TrainingBatch
from lightning_modules.data.images import ImageDataModule
from lightning_modules.data.labelled_images import LabelledImages
from lightning_modules.data.store import MemoryStore
from lightning_modules.learner.checks import validate_images
from lightning_modules.learner.wrong_domain import wrong_domain

__all__ = [
    "DigitsDataModule",
    "ImageDataModule",
    "InfluenceDataModule",
    "InfluenceSet",
    "LabelledImages",
    "MemoryStore",
    "Splits",
    "TrainingBatch",
    "validate_images",
    "wrong_domain",
]
