"""Spatial displacement and appearance fields: an affine map and a color filter for every pixel, and their decoder G.

The transform model of Lee, Park, Pham and Yoo, "Learning Augmentation Network via Influence Functions" (CVPR 2020).
[SECOND] marks what is known from independent re-implementations only, [CHOICE] what is this project's own.

Axes: B images, C channels, H x W pixels. Coordinates are (row, column) in pixels; the origin of `A(p) p` is the image
center, so that no corner is favored [CHOICE; a constant `b - A o` moves the origin to o, so the space is the same].
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CODE_SIZE = 128
Composition = Literal["parallel", "serial"]


class Fields(NamedTuple):
    """What G decodes, before pooling; all zero is the identity.

    Attributes:
        matrix: `A`, `[B, 2, 2, H, W]`, per pixel.
        shift: `b`, `[B, 2, H, W]`, pixels.
        filter: `W`, `[B, C, C, H, W]`, or None without an appearance model.
        bias: `c`, `[B, C, H, W]` in units of the full range, or None without an appearance model.
    """

    matrix: Tensor
    shift: Tensor
    filter: Tensor | None = None
    bias: Tensor | None = None


def map_count(channels: int, appearance: bool) -> int:
    """How many maps make the fields of a pixel: 6 for A and b, C^2 + C more for W and c."""
    return 6 + (channels**2 + channels if appearance else 0)


def as_fields(maps: Tensor, channels: int) -> Fields:
    """The fields in `[B, N, H, W]`, views: A, b, and, if there are more than 6 maps, W, c of C channels."""
    matrix, shift = maps[:, :4].unflatten(1, (2, 2)), maps[:, 4:6]
    if maps.shape[1] == map_count(channels, appearance=False):
        return Fields(matrix, shift)
    split = 6 + channels**2
    return Fields(matrix, shift, maps[:, 6:split].unflatten(1, (channels, channels)), maps[:, split:])


def pool(maps: Tensor) -> Tensor:
    """4x4 average of `[B, N, H, W]` at stride 1 and equal size, edges repeated [SECOND].

    The window of pixel i is i - 1 ... i + 2, as is usual for an even size [CHOICE]; so the average is that of a point
    half a pixel below and to the right.
    """
    return F.avg_pool2d(F.pad(maps, (1, 2, 1, 2), mode="replicate"), 4, stride=1)


def pixels(height: int, width: int, like: Tensor) -> Tensor:
    """The (row, column) of every pixel, `[2, H, W]`."""
    rows, columns = (torch.arange(side, dtype=like.dtype, device=like.device) for side in (height, width))
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def displacement(matrix: Tensor, shift: Tensor) -> Tensor:
    """`delta(p) = A(p) p + b(p)`, not pooled (attributed to Eq. 20 [SECOND]).

    Args:
        matrix: `[B, 2, 2, H, W]`; carries gradient.
        shift: `[B, 2, H, W]` in pixels; carries gradient.

    Returns:
        `[B, 2, H, W]` (rows, columns) in pixels.
    """
    height, width = shift.shape[-2:]
    center = shift.new_tensor([(height - 1) / 2, (width - 1) / 2])
    return (matrix * (pixels(height, width, shift) - center[:, None, None])).sum(2) + shift


def displace(images: Tensor, offsets: Tensor) -> Tensor:
    """Every pixel p becomes the bilinear sample of the source at `p + offsets(p)`, zero outside.

    An offset of (1, 0) fetches the row below: the content moves up. Samples at whole pixels are exact.

    Args:
        images: `[B, C, H, W]`; carries gradient.
        offsets: `[B, 2, H, W]` (rows, columns) in pixels, of the same dtype; carries gradient, at whole pixels that of
            the right-hand side. What is not finite makes the pixel NaN.

    Returns:
        `[B, C, H, W]`.
    """
    channels, height, width = images.shape[1:]
    framed = F.pad(images, (1, 1, 1, 1)).flatten(2)  # a frame of zeros is all that is needed of the outside
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
    """`Delta(p) = W(p) x(p) + c(p)`: a 1x1 color filter that differs from pixel to pixel.

    Args:
        images: `[B, C, H, W]`; carries gradient.
        weights: `[B, C, C, H, W]`, output before input channel; carries gradient.
        bias: `[B, C, H, W]`; carries gradient.

    Returns:
        `[B, C, H, W]`, neither scaled nor clipped; it is added to the image.
    """
    return (weights * images[:, None]).sum(2) + bias


def smooth_displacement(fields: Fields) -> Tensor:
    """The pooled displacement `[B, 2, H, W]` in pixels: the displacement is pooled, not A and b [SECOND]."""
    return pool(displacement(fields.matrix, fields.shift))


def smooth_change(images: Tensor, fields: Fields) -> Tensor:
    """`Delta` `[B, C, H, W]` with pooled W and c [SECOND]; 0 without an appearance model."""
    if fields.filter is None or fields.bias is None:
        return torch.zeros_like(images)
    return color_change(images, pool(fields.filter.flatten(1, 2)).view_as(fields.filter), pool(fields.bias))


def transform(images: Tensor, fields: Fields, composition: Composition = "parallel") -> Tensor:
    """`G(x, tau)` for decoded fields, in the literal form: without bounds on the fields or on the result.

    Args:
        images: `[B, C, H, W]`; carries gradient.
        fields: All carry gradient.
        composition: `parallel` adds the change of the original's colors to the moved image,
            `x_spatial + (x + Delta(x)) - x`; `serial` changes the colors of the moved image [both SECOND].

    Returns:
        `[B, C, H, W]`; may leave [0, 1].
    """
    moved = displace(images, smooth_displacement(fields))
    if fields.filter is None:
        return moved
    return moved + smooth_change(images if composition == "parallel" else moved, fields)


class FieldDecoder(nn.Module):
    """G: a code to fields of one image size.

    Dense to 4x4x128, 4x4 transposed convolutions of stride 2 with 64/32/16 channels, one of stride 1 to the fields;
    ReLU between. For 224 pixels one of stride 1 goes from 4x4 to 7x7 first and the widths are 64/64/32/32/16/16
    [SECOND]. For every other size [CHOICE]: as many doublings as the shorter side allows, a layer of stride 1 from 4x4
    to the grid they start from (which need not be square), the widths as evenly as in these two, and the middle of the
    result if it is larger than the image. Weights of the last layer start at a standard deviation of 0.001, its biases
    at 0: near the identity [SECOND].

    Args:
        channels: C of the images.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        appearance: Whether to decode W and c too: 6 + C^2 + C fields (18 for three channels) instead of 6.
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
        last = nn.ConvTranspose2d(widths[-1], outputs, 4, padding=1)  # one pixel larger; the crop takes it off
        nn.init.normal_(last.weight, std=1e-3)
        if last.bias is not None:
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, codes: Tensor) -> Tensor:
        """Decode `[B, 128]` to maps `[B, N, H, W]`, see `as_fields`; the codes and the parameters carry gradient."""
        maps: Tensor = self.layers(F.relu(self.dense(codes)).unflatten(1, (128, 4, 4)))
        top, left = (maps.shape[-2] - self.height) // 2, (maps.shape[-1] - self.width) // 2
        return maps[..., top : top + self.height, left : left + self.width]
