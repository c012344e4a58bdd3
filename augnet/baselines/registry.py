"""Registry of the baselines."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from augnet.baselines.augmix import AugMix
from augnet.baselines.auto_augment import AutoAugment
from augnet.baselines.base import Baseline
from augnet.baselines.cutout import Cutout
from augnet.baselines.flip_crop import Crop, FlipCrop
from augnet.baselines.mixing import CutMix, MixingBaseline, Mixup
from augnet.baselines.rand_augment import RandAugment, TrivialAugment
from augnet.baselines.resized_crop import ResizedCrop

BASELINES: Mapping[str, type[Baseline | MixingBaseline]] = MappingProxyType(
    {
        "flip_crop": FlipCrop,
        "crop": Crop,
        "resized_crop": ResizedCrop,
        "trivial_augment": TrivialAugment,
        "rand_augment": RandAugment,
        "auto_augment": AutoAugment,
        "augmix": AugMix,
        "cutout": Cutout,
        "mixup": Mixup,
        "cutmix": CutMix,
    }
)
"""Name -> class of every fixed policy."""


class Sequence(Baseline):
    """A sequence of baselines.

    Args:
        baselines: In the order of application.
    """

    def __init__(self, *baselines: Baseline) -> None:
        super().__init__()
        self.baselines = nn.ModuleList(baselines)

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, C, H, W]` by all baselines in order."""
        for baseline in self.baselines:
            images = baseline(images, generator)
        return images


def make_baseline(name: str) -> Baseline | MixingBaseline:
    """Build a baseline of the default strength, or of one in the name.

    Args:
        name: A key of `BASELINES`, or several joined by `+` and applied in this order; mixup and cutmix can only be
            the last. `rand_augment:MAGNITUDE` sets the strength, from 0 to 30; the default is 9.

    Raises:
        ValueError: If a name is unknown, a strength out of range, or mixup or cutmix is not the last.

    Example:
        >>> make_baseline("flip_crop+trivial_augment").training
        True
    """
    *before, last = (_make(part) for part in name.split("+"))
    images_only = [baseline for baseline in before if isinstance(baseline, Baseline)]
    if len(images_only) < len(before):
        raise ValueError(f"{name!r}: mixup and cutmix mix labels too: put them last, and only one of them.")
    if not images_only:
        return last
    if isinstance(last, Baseline):
        return Sequence(*images_only, last)
    return type(last)(before=Sequence(*images_only))


def _make(part: str) -> Baseline | MixingBaseline:
    name, colon, magnitude = part.partition(":")
    if name not in BASELINES:
        close = difflib.get_close_matches(name, BASELINES, n=2)
        hint = f"; did you mean {' or '.join(close)}?" if close else "."
        raise ValueError(f"unknown baseline {name!r}{hint} Known baselines, to be joined by +: {', '.join(BASELINES)}.")
    if not colon:
        return BASELINES[name]()
    if name != "rand_augment" or not magnitude.isdecimal():
        raise ValueError(f"{part!r}: a strength can be given to rand_augment alone, as rand_augment:5.")
    return RandAugment(magnitude=int(magnitude))
