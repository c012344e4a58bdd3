"""Mixup and CutMix, which combine two images of a batch and their labels."""

import torch
from torch import Tensor

from augnet.ops.base import MixingOp, uniform_noise
from augnet.ops.occlusion import coverage


def mixup(images: Tensor, partners: Tensor, share: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Blend with the partner by a `share` `[B]` in [0, 1] (Zhang et al., 2018); images and labels alike."""
    return images + share[:, None, None, None] * (partners - images), share


def cutmix(images: Tensor, partners: Tensor, area: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Paste a patch of the partner (Yun et al., 2019); return images, and the share that the patch covers, `[B]`.

    `area` `[B]` in [0, 1] is the patch as a share of the image; it is cropped at the border. The last two columns of
    `noise` `[B, 3]` are its center.
    """
    side = torch.where(area > 0, area, torch.ones_like(area)).sqrt() * (area > 0)
    covered = coverage(side, noise[:, 1:], *images.shape[-2:])
    return images + covered[:, None] * (partners - images), covered.mean(dim=(1, 2))


def partners_of(noise: Tensor) -> Tensor:
    """Return the partner of each image, `[B]` int64: the next one in a random order, itself only in a batch of one.

    Sorting the first column of the noise `[B, ...]`, uniform numbers, gives the order.
    """
    order = noise[:, 0].argsort()
    return torch.empty_like(order).scatter_(0, order, order.roll(-1))


MIXING_OPS = (
    MixingOp(
        "cutmix",
        "share of the area",
        0.5,
        "paste a patch of m of the area from another image",
        signed=False,
        limit=1.0,
        noise=uniform_noise(3),
        apply=cutmix,
    ),
    MixingOp(
        "mixup",
        "share of the other image",
        0.5,
        "blend with another image by m",
        signed=False,
        limit=1.0,
        noise=uniform_noise(1),
        apply=mixup,
    ),
)
