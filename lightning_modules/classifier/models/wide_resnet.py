"""Wide residual networks for 32 x 32 images (Zagoruyko and Komodakis, 2016)."""

from torch import Tensor, nn
from torch.nn import functional


class WideResNet(nn.Module):
    """A pre-activation residual network of three groups of 16, 32 and 64 times `widen_factor` channels.

    Args:
        num_classes: Number of classes, K.
        in_channels: Channels of the images: 1 for gray, 3 for RGB.
        depth: Number of layers, 6 n + 4: 10, 16, 22, 28, 40 ...
        widen_factor: Factor on the channels; 1 is the plain residual network.
        dropout: Probability that an activation between the two convolutions of a block is dropped, in [0, 1).

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        depth: int = 16,
        widen_factor: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6 n + 4 (10, 16, 22, 28, 40 ...), got {depth}.")
        if widen_factor < 1:
            raise ValueError(f"widen_factor must be at least 1, got {widen_factor}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}.")
        blocks: list[nn.Module] = []
        channels = 16
        for width, first_stride in ((16, 1), (32, 2), (64, 2)):
            for index in range((depth - 4) // 6):
                blocks.append(_Block(channels, width * widen_factor, first_stride if index == 0 else 1, dropout))
                channels = width * widen_factor
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[B, K]` of images `[B, C, H, W]`."""
        maps = functional.relu(self.norm(self.blocks(self.stem(images))))
        logits: Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    """Two normalized, activated 3 x 3 convolutions with dropout between them, with a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        same = in_channels == out_channels and stride == 1
        self.shortcut = None if same else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        active = functional.relu(self.norm1(maps))
        shortcut = maps if self.shortcut is None else self.shortcut(active)
        inner = self.dropout(functional.relu(self.norm2(self.conv1(active))))
        update: Tensor = self.conv2(inner)
        return shortcut + update
