"""The batches, in the form that each library takes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """A batch of random smooth images of 256 levels.

    Attributes:
        count: Images.
        side: Height and width in pixels.
    """

    count: int
    side: int

    @property
    def name(self) -> str:
        """`B x C x H x W`."""
        return f"{self.count} x 3 x {self.side} x {self.side}"

    @cached_property
    def images(self) -> Tensor:
        """`[B, 3, H, W]` float32 in [0, 1]."""
        coarse = torch.rand(self.count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        smooth = torch.nn.functional.interpolate(coarse, (self.side, self.side), mode="bicubic").clamp(0, 1)
        return (smooth * 255).round() / 255

    @cached_property
    def bytes(self) -> list[Tensor]:
        """Images `[3, H, W]` uint8."""
        return list((self.images * 255).round().to(torch.uint8))

    @cached_property
    def pictures(self) -> list[Any]:
        """PIL images."""
        return [TF.to_pil_image(image) for image in self.bytes]

    @cached_property
    def arrays(self) -> list[Any]:
        """Arrays `[H, W, 3]` uint8."""
        return [image.permute(1, 2, 0).contiguous().numpy() for image in self.bytes]

    @cached_property
    def labels(self) -> Tensor:
        """`[B, 10]` one-hot."""
        return torch.nn.functional.one_hot(torch.arange(self.count) % 10, 10).float()


CASES = (Case(128, 32), Case(64, 224))
QUICK = (Case(8, 32),)
