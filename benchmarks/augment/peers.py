"""Rows of other libraries, each by the form of input it is made for; imported only when called.

Per sample means a loop over the images of the batch, as a data loader's worker does it; conversions between forms are
not counted.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.augment.cases import Case

Call = Callable[[], Any]


def torchvision(policy: str, form: str) -> Callable[[Case], Call]:
    """Return a policy of torchvision v2 on each image."""

    def make(case: Case) -> Call:
        import torchvision.transforms.v2 as T

        transform = getattr(T, policy)(*([T.AutoAugmentPolicy.CIFAR10] if policy == "AutoAugment" else []))
        images = getattr(case, form)
        return lambda: [transform(image) for image in images]

    return make


def kornia_auto(policy: str, *arguments: int, per_sample: bool) -> Callable[[Case], Call]:
    """Return a policy of kornia.augmentation.auto; it draws one op for all images that it is given together."""

    def make(case: Case) -> Call:
        import kornia.augmentation.auto as auto

        transform = getattr(auto, policy)(*arguments)
        parts = case.images.split(1 if per_sample else case.count)
        return torch.no_grad()(lambda: [transform(part) for part in parts])

    return make


def kornia_ranges(case: Case) -> Call:
    """Return the spatial and color ops of our range policy that kornia has, all of them on every image."""
    import kornia.augmentation as K

    transform = K.AugmentationSequential(
        K.RandomResizedCrop((case.side, case.side), scale=(0.25, 1.0), cropping_mode="resample"),
        K.RandomAffine(45.0, translate=(0.1, 0.1), scale=(0.7, 1.4, 0.7, 1.4), shear=(-15.0, 15.0, -15.0, 15.0), p=1.0),
        K.RandomPerspective(0.3, p=1.0),
        K.ColorJitter(0.15, 0.4, 0.4, 0.1),
        K.RandomGrayscale(p=0.5),
        K.RandomInvert(p=0.5),
        K.RandomRGBShift(p=1.0),
    )
    return torch.no_grad()(lambda: transform(case.images))


def albumentations_trivial(case: Case) -> Call:
    """Return one of the ops of TrivialAugment-Wide at a random strength on each image."""
    import albumentations as A

    transform = A.OneOf(
        [
            A.NoOp(),
            A.Affine(shear={"x": (-45, 45), "y": (0, 0)}, p=1),
            A.Affine(shear={"x": (0, 0), "y": (-45, 45)}, p=1),
            A.Affine(translate_px={"x": (-32, 32), "y": (0, 0)}, p=1),
            A.Affine(translate_px={"x": (0, 0), "y": (-32, 32)}, p=1),
            A.Rotate((-135, 135), p=1),
            *(A.ColorJitter(**{name: (0.01, 1.99)}, **_others(name), p=1) for name in _JITTERED),
            A.Sharpen(p=1),
            A.Posterize((2, 8), p=1),
            A.Solarize((0.0, 1.0), p=1),
            A.AutoContrast(p=1),
            A.Equalize(p=1),
        ],
        p=1,
    )
    return lambda: [transform(image=image) for image in case.arrays]


_JITTERED = ("brightness", "contrast", "saturation")


def _others(name: str) -> dict[str, tuple[float, float]]:
    neutral = {other: (1.0, 1.0) for other in _JITTERED if other != name}
    return {**neutral, "hue": (0.0, 0.0)}


def albumentations_ranges(case: Case) -> Call:
    """Return the spatial and color ops of our range policy that albumentations has, all of them on each image."""
    import albumentations as A

    transform = A.Compose(
        [
            A.RandomResizedCrop((case.side, case.side), scale=(0.25, 1.0), p=1),
            A.Affine(
                rotate=(-45, 45),
                translate_percent=(-0.1, 0.1),
                scale={"x": (0.7, 1.4), "y": (0.7, 1.4)},
                shear=(-15, 15),
                p=1,
            ),
            A.Perspective(p=1),
            A.ColorJitter(p=1),
            A.ToGray(p=0.5),
            A.InvertImg(p=0.5),
            A.RGBShift(p=1),
        ]
    )
    return lambda: [transform(image=image) for image in case.arrays]


# row -> (our row of like content, how it is called)
ROWS: dict[str, tuple[str, Callable[[Case], Call]]] = {
    "torchvision TrivialAugmentWide, uint8 tensors": ("trivial_augment", torchvision("TrivialAugmentWide", "bytes")),
    "torchvision TrivialAugmentWide, PIL": ("trivial_augment", torchvision("TrivialAugmentWide", "pictures")),
    "kornia TrivialAugment, per sample": ("trivial_augment", kornia_auto("TrivialAugment", per_sample=True)),
    "kornia TrivialAugment, one op a batch": ("trivial_augment", kornia_auto("TrivialAugment", per_sample=False)),
    "albumentations, one of the ops of TrivialAugment": ("trivial_augment", albumentations_trivial),
    "torchvision RandAugment, uint8 tensors": ("rand_augment", torchvision("RandAugment", "bytes")),
    "torchvision RandAugment, PIL": ("rand_augment", torchvision("RandAugment", "pictures")),
    "kornia RandAugment, per sample": ("rand_augment", kornia_auto("RandAugment", 2, 9, per_sample=True)),
    "kornia RandAugment, two ops a batch": ("rand_augment", kornia_auto("RandAugment", 2, 9, per_sample=False)),
    "torchvision AutoAugment, uint8 tensors": ("auto_augment", torchvision("AutoAugment", "bytes")),
    "torchvision AugMix, uint8 tensors": ("augmix", torchvision("AugMix", "bytes")),
    "kornia AugmentationSequential, ops of ranges": ("ranges, forward", kornia_ranges),
    "albumentations Compose, ops of ranges": ("ranges, forward", albumentations_ranges),
}
