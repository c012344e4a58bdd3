"""The encoder E of the field network, from an image to its code tau, and the dropout on the code.

The architecture of Lee, Park, Pham and Yoo (CVPR 2020); `docs/method.md`, "The paper's own network". Details that the
paper does not state follow a public re-implementation that trained stably, or are this project's choice, as noted.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from augnet.field import CODE_SIZE

# widths, kernel sizes and strides of the convolutions
CIFAR = ((16, 32, 64, 128), (4, 4, 4, 4), (1, 2, 2, 2))
IMAGENET = ((16, 16, 32, 32, 64, 64, 128), (7, 4, 4, 4, 4, 4, 4), (1, 2, 2, 2, 2, 2, 2))


def conv_stack(
    channels: int, height: int, width: int, outputs: int, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    """Build the body of E and of the image discriminator: convolutions, then one dense layer to `outputs` numbers.

    Four convolutions (`CIFAR`), or seven (`IMAGENET`) if the shorter side has 128 pixels or more; the threshold is this
    project's choice, the layers are those of the re-implementation. A convolution of stride s pads so that a side of n
    pixels becomes ceil(n / s), for every image size.
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
    """E, from an image of one size to its code in (-1, 1)^128; it takes no label and no noise."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.stack = conv_stack(channels, height, width, CODE_SIZE, nn.ReLU)

    def forward(self, images: Tensor) -> Tensor:
        """Encode `[B, C, H, W]` to codes `[B, 128]`; images and parameters carry gradient."""
        return torch.tanh(self.stack(images))


def drop_codes(codes: Tensor, rate: float, numbers: Tensor) -> Tensor:
    """Apply inverted dropout: set components to 0 with probability `rate`, divide the others by `1 - rate`.

    The dropout is the only source of randomness, so it stays on while E and G learn and while a classifier is trained
    on their images. Dividing the codes, which lie in (-2, 2) at the paper's rate of 0.5, follows the re-implementation.
    `codes` and `numbers`, which are uniform in [0, 1), are `[B, 128]`; the codes carry gradient.
    """
    return codes * (numbers >= rate) / (1 - rate)
