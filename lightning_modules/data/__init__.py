"""Data modules: four disjoint splits (training, influence, validation, test) of any image dataset."""

from lightning_modules.data.base import InfluenceDataModule, Splits
from lightning_modules.data.checks import validate_images
from lightning_modules.data.digits import DigitsDataModule
from lightning_modules.data.images import ImageDataModule
from lightning_modules.data.labelled_images import LabelledImages
from lightning_modules.data.store import MemoryStore

__all__ = [
    "DigitsDataModule",
    "ImageDataModule",
    "InfluenceDataModule",
    "LabelledImages",
    "MemoryStore",
    "Splits",
    "validate_images",
]
