"""Data modules: four disjoint splits (training, influence, validation, test) of any image dataset."""

from lightning_modules.data.digits import DigitsDataModule
from lightning_modules.data.folds import TrainingBatch
from lightning_modules.data.images import ImageDataModule
from lightning_modules.data.influence_data_module import InfluenceDataModule, InfluenceSource
from lightning_modules.data.labelled_images import LabelledImages, Splits
from lightning_modules.data.store import MemoryStore
from lightning_modules.learner.checks import validate_images
from lightning_modules.learner.wrong_domain import wrong_domain

__all__ = [
    "DigitsDataModule",
    "ImageDataModule",
    "InfluenceDataModule",
    "InfluenceSource",
    "LabelledImages",
    "MemoryStore",
    "Splits",
    "TrainingBatch",
    "validate_images",
    "wrong_domain",
]
