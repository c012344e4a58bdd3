"""Fixed augmentation policies, applied per sample to a whole batch at once."""

from augnet.baselines.augmix import AugMix
from augnet.baselines.auto_augment import AutoAugment
from augnet.baselines.base import Baseline
from augnet.baselines.cutout import Cutout
from augnet.baselines.flip_crop import Crop, FlipCrop
from augnet.baselines.mixing import CutMix, MixingBaseline, Mixup
from augnet.baselines.rand_augment import RandAugment, TrivialAugment
from augnet.baselines.registry import BASELINES, Sequence, make_baseline
from augnet.baselines.resized_crop import ResizedCrop

__all__ = [
    "BASELINES",
    "AugMix",
    "AutoAugment",
    "Baseline",
    "Crop",
    "CutMix",
    "Cutout",
    "FlipCrop",
    "MixingBaseline",
    "Mixup",
    "RandAugment",
    "ResizedCrop",
    "Sequence",
    "TrivialAugment",
    "make_baseline",
]
