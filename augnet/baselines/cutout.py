"""Cutout (DeVries and Taylor, 2017)."""

import torch
from torch import Tensor

from augnet.baselines.base import Baseline
from augnet.draws import uniform
from augnet.space import TransformSpace


class Cutout(Baseline):
    """Cover a patch of every image, centered on any of its pixels, by the image's mean color.

    A patch of an even number of pixels has its edges between pixels; one of an odd number covers its rim by half.

    Args:
        side: Height and width of the patch as a fraction of those of the image, in (0, 2]; 1/2 as in the paper.

    Raises:
        ValueError: If `side` is out of range.
    """

    def __init__(self, side: float = 0.5) -> None:
        super().__init__()
        if not 0 < side <= 2:
            raise ValueError(f"side: expected a fraction of the image in (0, 2], found {side}")
        self.side = side
        self.space = TransformSpace({"cutout": side})

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, C, H, W]`."""
        count, _, height, width = images.shape
        size = torch.tensor([width, height], device=images.device)
        centers = (uniform((count, 2), images, generator) * size).floor() / size
        magnitudes = torch.full((count, 1), self.side, device=images.device)
        place = centers.to(torch.promote_types(images.dtype, torch.float32))
        return self.space.apply(images, magnitudes, {"cutout": place})
