"""Callbacks: learned augmentation for any LightningModule, and those that watch a run and write its files."""

from lightning_modules.callbacks.exact_resume import ExactResume
from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation
from lightning_modules.callbacks.pictures import PolicyPictures
from lightning_modules.callbacks.policy_writer import PolicyWriter
from lightning_modules.callbacks.safe_stop import SafeStop
from lightning_modules.callbacks.sample_writer import SampleWriter
from lightning_modules.callbacks.throughput import Throughput

__all__ = [
    "ExactResume",
    "LearnedAugmentation",
    "PolicyPictures",
    "PolicyWriter",
    "SafeStop",
    "SampleWriter",
    "Throughput",
]
