"""The encoder E of the field network: an image to its code tau, and the dropout that makes the code random.

The architecture of Lee, Park, Pham and Yoo (CVPR 2020). [SECOND] marks what is known from independent
re-implementations only, [CHOICE] what is this project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from augnet.field import CODE_SIZE


class ConvProfile(NamedTuple):
    """Widths, kernel sizes and strides of a stack of convolutions."""

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]


CIFAR = ConvProfile((16, 32, 64, 128), (4, 4, 4, 4), (1, 2, 2, 2))
IMAGENET = ConvProfile((16, 16, 32, 32, 64, 64, 128), (7, 4, 4, 4, 4, 4, 4), (1, 2, 2, 2, 2, 2, 2))


def conv_stack(
    channels: int, height: int, width: int, outputs: int, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    """Convolutions and one dense layer: the body of E and of the image discriminator [SECOND].

    Four convolutions (`CIFAR`); seven (`IMAGENET`) from 128 pixels of the shorter side on [CHOICE]. The padding is such
    that a stride of s makes a side of n pixels ceil(n / s) long, so every image size works.

    Args:
        channels: C of the images.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        outputs: Of the dense layer.
        activation: Makes the module after each convolution.
    """
    profile = IMAGENET if min(height, width) >= 128 else CIFAR
    layers: list[nn.Module] = []
    for outward, kernel, stride in zip(*profile, strict=True):
        before, after = (kernel - 1) // 2, kernel // 2
        layers += [nn.ZeroPad2d((before, after, before, after)), nn.Conv2d(channels, outward, kernel, stride)]
        layers.append(activation())
        channels, height, width = outward, -(-height // stride), -(-width // stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, outputs))


class CodeEncoder(nn.Module):
    """E: an image to its code in (-1, 1)^128. It sees the image only, no label and no noise.

    Args:
        channels: C of the images.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.stack = conv_stack(channels, height, width, CODE_SIZE, nn.ReLU)

    def forward(self, images: Tensor) -> Tensor:
        """The codes `[B, 128]` of `[B, C, H, W]`; images and parameters carry gradient."""
        return torch.tanh(self.stack(images))


def drop_codes(codes: Tensor, rate: float, numbers: Tensor) -> Tensor:
    """Set components to 0 with probability `rate` and divide the others by `1 - rate`: inverted dropout.

    With the paper's rate of 0.5 the result lies in {0} and (-2, 2) [SECOND]. It is the only source of chance, so it
    stays on while E and G learn and while a classifier is trained on their images.

    Args:
        codes: `[B, 128]`; carries gradient.
        rate: In [0, 1).
        numbers: `[B, 128]`, independent and uniform in [0, 1).
    """
    return codes * (numbers >= rate) / (1 - rate)
