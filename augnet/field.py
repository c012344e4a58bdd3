"""Spatial displacement and appearance fields: an affine map and a color filter for every pixel, and their decoder G.

The transform model of Lee, Park, Pham and Yoo, "Learning Augmentation Network via Influence Functions" (CVPR 2020);
`docs/method.md`, "The paper's own network". Details that the paper does not state follow a public re-implementation of
it that trained stably, called "the re-implementation" below, or are this project's choice, as noted.

Axes: B images, C channels, H x W pixels. Coordinates are (row, column) in pixels. The origin of `A(p) p` is the image
center, this project's choice; a constant `b - A o` moves the origin to o, so the set of transforms is the same.
"""

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CODE_SIZE = 128
Composition = Literal["parallel", "serial"]


class Fields(NamedTuple):
    """The fields that G decodes, before pooling; all zero is the identity.

    Attributes:
        matrix: `A`, `[B, 2, 2, H, W]`, without unit.
        shift: `b`, `[B, 2, H, W]`, in pixels.
        filter: `W`, `[B, C, C, H, W]`, or None without an appearance model.
        bias: `c`, `[B, C, H, W]` in units of the full range, or None without an appearance model.
    """

    matrix: Tensor
    shift: Tensor
    filter: Tensor | None = None
    bias: Tensor | None = None


def map_count(channels: int, appearance: bool) -> int:
    """Return the number of maps: 6 for A and b, and C^2 + C more for W and c."""
    return 6 + (channels**2 + channels if appearance else 0)


def as_fields(maps: Tensor, channels: int) -> Fields:
    """Split maps `[B, N, H, W]` into the fields A, b and, if there are more than 6 maps, W, c; views of the maps."""
    matrix, shift = maps[:, :4].unflatten(1, (2, 2)), maps[:, 4:6]
    if maps.shape[1] == map_count(channels, appearance=False):
        return Fields(matrix, shift)
    split = 6 + channels**2
    return Fields(matrix, shift, maps[:, 6:split].unflatten(1, (channels, channels)), maps[:, split:])


def pool(maps: Tensor) -> Tensor:
    """Average `[B, N, H, W]` over 4x4 windows of stride 1 with replicated edges, keeping the size.

    Kernel size and padding are those of the re-implementation. The window of pixel i is i - 1 ... i + 2, this project's
    choice, so the average is centered half a pixel below and to the right of the pixel.
    """
    return F.avg_pool2d(F.pad(maps, (1, 2, 1, 2), mode="replicate"), 4, stride=1)


def pixels(height: int, width: int, like: Tensor) -> Tensor:
    """Return the (row, column) of every pixel, `[2, H, W]`, in the dtype and on the device of `like`."""
    rows, columns = (torch.arange(side, dtype=like.dtype, device=like.device) for side in (height, width))
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def displacement(matrix: Tensor, shift: Tensor) -> Tensor:
    """Return `delta(p) = A(p) p + b(p)` before pooling; Eq. 20 of the paper as the re-implementation reads it.

    `A` `[B, 2, 2, H, W]`, `b` and the result `[B, 2, H, W]` (rows, columns) in pixels; both carry gradient.
    """
    height, width = shift.shape[-2:]
    center = shift.new_tensor([(height - 1) / 2, (width - 1) / 2])
    return (matrix * (pixels(height, width, shift) - center[:, None, None])).sum(2) + shift


def displace(images: Tensor, offsets: Tensor) -> Tensor:
    """Sample the images bilinearly at `p + offsets(p)` for every pixel p, zero outside.

    An offset of (1, 0) samples the row below: the content moves up. Samples at whole pixels are exact.

    Args:
        images: `[B, C, H, W]`; carries gradient.
        offsets: `[B, 2, H, W]` (rows, columns) in pixels, of the same dtype; carries gradient, at whole pixels the
            right-hand derivative. An offset that is not finite makes the pixel NaN.
    """
    channels, height, width = images.shape[1:]
    framed = F.pad(images, (1, 1, 1, 1)).flatten(2)  # all samples outside fall on a frame of zeros
    rows, columns = (pixels(height, width, offsets) + offsets).unbind(1)
    rows, columns = rows.clamp(-1, height) + 1, columns.clamp(-1, width) + 1
    top, left = (
        place.detach().floor().nan_to_num().clamp(max=side) for place, side in ((rows, height), (columns, width))
    )
    down, right = (rows - top)[:, None], (columns - left)[:, None]
    corner = (top.long() * (width + 2) + left.long()).flatten(1)[:, None].expand(-1, channels, -1)

    def at(step: int) -> Tensor:
        return framed.gather(2, corner + step).view_as(images)

    upper = torch.lerp(at(0), at(1), right)
    lower = torch.lerp(at(width + 2), at(width + 3), right)
    return torch.lerp(upper, lower, down)


def color_change(images: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Return `Delta(p) = W(p) x(p) + c(p)`, a 1x1 color filter of its own at every pixel, to be added to the image.

    `W` is `[B, C, C, H, W]`, output before input channel; all carry gradient. Neither scaled nor clipped.
    """
    return (weights * images[:, None]).sum(2) + bias


def smooth_displacement(fields: Fields) -> Tensor:
    """Return the displacement `[B, 2, H, W]` in pixels, itself pooled, not A and b, as in the re-implementation."""
    return pool(displacement(fields.matrix, fields.shift))


def smooth_change(images: Tensor, fields: Fields) -> Tensor:
    """Return `Delta` `[B, C, H, W]` with pooled W and c, as in the re-implementation; 0 without appearance fields."""
    if fields.filter is None or fields.bias is None:
        return torch.zeros_like(images)
    return color_change(images, pool(fields.filter.flatten(1, 2)).view_as(fields.filter), pool(fields.bias))


def transform(images: Tensor, fields: Fields, composition: Composition = "parallel") -> Tensor:
    """Apply decoded fields, `G(x, tau)`, as in the paper without bounds: the result may leave [0, 1].

    Args:
        images: `[B, C, H, W]`; carries gradient.
        fields: All carry gradient.
        composition: `parallel` adds the color change of the original to the moved image,
            `x_spatial + (x + Delta(x)) - x`; `serial` changes the colors of the moved image. Both are in use in
            public re-implementations.
    """
    moved = displace(images, smooth_displacement(fields))
    if fields.filter is None:
        return moved
    return moved + smooth_change(images if composition == "parallel" else moved, fields)


class FieldDecoder(nn.Module):
    """G, from a code to fields of one image size.

    A dense layer to 4x4x128, 4x4 transposed convolutions of stride 2 with 64/32/16 channels, and one of stride 1 to the
    fields, with ReLU between. For 224 pixels a layer of stride 1 from 4x4 to 7x7 comes first and the widths are
    64/64/32/32/16/16. Weights of the last layer start at a standard deviation of 0.001 and its biases at 0, near the
    identity. These are the values of the re-implementation.

    For other sizes, this project's choice: as many doublings as the shorter side allows, a layer of stride 1 from 4x4
    to the grid they start from (which need not be square), widths spread as evenly as in these two cases, and a
    centered crop of the result if it is larger than the image.

    Args:
        channels: C of the images.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        appearance: True to decode W and c too, 6 + C^2 + C maps (18 for three channels) instead of 6.
    """

    def __init__(self, channels: int, height: int, width: int, appearance: bool) -> None:
        super().__init__()
        self.height, self.width = height, width
        doublings = max((min(height, width) // 4).bit_length() - 1, 0)
        start = [max(4, -(-side // 2**doublings)) for side in (height, width)]
        widen = start != [4, 4]
        count = doublings + widen
        widths = [128, *(64 >> (3 * layer // count) for layer in range(count))]
        self.dense = nn.Linear(CODE_SIZE, 4 * 4 * 128)
        layers: list[nn.Module] = []
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            if widen and layer == 0:
                layers.append(nn.ConvTranspose2d(inputs, outputs, (start[0] - 3, start[1] - 3)))
            else:
                layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))
            layers.append(nn.ReLU())
        outputs = map_count(channels, appearance)
        last = nn.ConvTranspose2d(widths[-1], outputs, 4, padding=1)  # one pixel larger than the image; cropped
        nn.init.normal_(last.weight, std=1e-3)
        if last.bias is not None:
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, codes: Tensor) -> Tensor:
        """Decode `[B, 128]` to maps `[B, N, H, W]`, see `as_fields`; the codes and the parameters carry gradient."""
        maps: Tensor = self.layers(F.relu(self.dense(codes)).unflatten(1, (128, 4, 4)))
        top, left = (maps.shape[-2] - self.height) // 2, (maps.shape[-1] - self.width) // 2
        return maps[..., top : top + self.height, left : left + self.width]
