"""A small convolutional network for small images, fast on a CPU."""

from torch import Tensor, nn


class SmallConvNet(nn.Module):
    """Four convolutions with batch normalization, global average pooling and a linear head.

    Each but the first halves the resolution and doubles the channels. With `width=8` and ten classes it has
    25 thousand parameters.

    Args:
        num_classes: Number of classes, K.
        in_channels: Channels of the images: 1 for gray, 3 for RGB.
        width: Channels of the first convolution; the features have eight times as many.
    """

    def __init__(self, num_classes: int, in_channels: int = 1, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(in_channels, width, stride=1),
            *_block(width, 2 * width, stride=2),
            *_block(2 * width, 4 * width, stride=2),
            *_block(4 * width, 8 * width, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[B, K]` of images `[B, C, H, W]`."""
        logits: Tensor = self.head(self.body(images))
        return logits


def _block(in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
