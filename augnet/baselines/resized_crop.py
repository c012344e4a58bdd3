"""Random resized crops, the usual augmentation of ImageNet (Szegedy et al., 2015)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from augnet.baselines.base import Baseline
from augnet.draws import uniform

_ATTEMPTS = 10


class ResizedCrop(Baseline):
    """Windows of random area and aspect ratio, resized to the size of the image, with horizontal flips.

    Windows have the distribution of torchvision's `RandomResizedCrop` and are resized as there, always to the size of
    the input images.

    Args:
        scale: Smallest and largest area of the window as a fraction of the image, in (0, 1].
        aspect: Smallest and largest width : height of the window, > 0; uniform in its logarithm.
        flip: Probability of a horizontal flip.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        scale: tuple[float, float] = (0.08, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale: expected two increasing fractions of the area in (0, 1], found {scale}")
        if not 0 < aspect[0] <= aspect[1] < math.inf:
            raise ValueError(f"aspect: expected two increasing numbers > 0, width : height, found {aspect}")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip: expected a probability in [0, 1], found {flip}")
        self.scale, self.aspect, self.flip = scale, aspect, flip

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, C, H, W]`; carries gradient."""
        windows = self.windows(images, generator)
        mirrored = uniform((len(images),), images, generator) < self.flip
        return resized_windows(images, windows, mirrored)

    def windows(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw the windows (top, left, height, width) in pixels, `[B, 4]` int64.

        Ten pairs of area and aspect ratio are drawn, and the first that fits into the image is used. If none does, the
        window is the largest centered one of an allowed aspect ratio. Pixels are not used.
        """
        count, _, height, width = images.shape
        area, shape = uniform((2, count, _ATTEMPTS), images, generator)
        area = height * width * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
        lowest, highest = map(math.log, self.aspect)
        shape = (lowest + shape * (highest - lowest)).exp()
        sides = torch.stack([(area / shape).sqrt(), (area * shape).sqrt()], dim=-1).round().long()  # height, width
        image = torch.tensor([height, width], device=images.device)
        fits = ((sides > 0) & (sides <= image)).all(dim=-1)
        first = fits.byte().argmax(dim=1)
        taken = sides[torch.arange(count, device=images.device), first]
        places = (uniform((count, 2), images, generator) * (image - taken + 1)).long()
        drawn = torch.cat([torch.minimum(places, image - taken), taken], dim=1)
        return torch.where(fits.any(dim=1, keepdim=True), drawn, drawn.new_tensor(self._middle(height, width)))

    def _middle(self, height: int, width: int) -> list[int]:
        """Return the window (top, left, height, width) for images that no draw fits."""
        widest = max(1, round(height * self.aspect[1]))
        tallest = max(1, round(width / self.aspect[0]))
        sides = [min(height, tallest), min(width, widest)]
        return [(height - sides[0]) // 2, (width - sides[1]) // 2, *sides]


def resized_windows(images: Tensor, windows: Tensor, mirrored: Tensor) -> Tensor:
    """Resize one window of each image to the size of the image, bilinearly, from pixels inside the window alone.

    Images `[B, C, H, W]` in [0, 1] carry gradient. Windows `[B, 4]`, (top, left, height, width) in pixels, lie inside
    the image; those in the mask `mirrored` `[B]` are flipped horizontally.
    """
    precise = images.to(torch.promote_types(images.dtype, torch.float32))
    height, width = images.shape[-2:]
    top, left, rows, columns = windows.to(precise.dtype)[..., None].unbind(1)
    y, x = (_source(side, start, extent) for side, start, extent in ((height, top, rows), (width, left, columns)))
    x = torch.where(mirrored[:, None], x.flip(1), x)
    size = (-1, height, width)
    grid = torch.stack([x[:, None].expand(size), y[:, :, None].expand(size)], dim=-1)
    resized = F.grid_sample(precise, grid, padding_mode="border", align_corners=False)
    return resized.clamp(0, 1).to(images.dtype)  # rounding can make the four weights sum to more than one


def _source(side: int, start: Tensor, extent: Tensor) -> Tensor:
    """Return the input position of each output position, `[B, side]`, from -1 to 1 along the side of the image."""
    position = (torch.arange(side, dtype=start.dtype, device=start.device) + 0.5) * extent / side
    inside = position.clamp(min=0.5).minimum(extent - 0.5)  # the centers of the first and the last pixel
    return 2 * (start + inside) / side - 1
