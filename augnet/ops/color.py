"""Linear color ops as `[C, C+1]` matrices, and their application in one product.

A pixel with channels `x` becomes `matrix @ [x; 1]`. Gray is `0.299 R + 0.587 G + 0.114 B` for three channels (as in
kornia and torchvision) and the mean of the channels otherwise.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from augnet.ops.base import ColorOp, uniform_noise

_LUMA = (0.299, 0.587, 0.114)
# RGB -> YIQ: luma and the two axes of the chroma plane
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], dtype=torch.float64)
# in RGB: the projection on the chroma plane, and the same rotated by 90 degrees
_CHROMA = (_YIQ.inverse() @ torch.diag(torch.tensor([0.0, 1.0, 1.0]).double()) @ _YIQ).tolist()
_TURNED = (_YIQ.inverse() @ torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]).double() @ _YIQ).tolist()


def gray_weights(channels: int, like: Tensor) -> Tensor:
    """Return the weights `[C]` of the channels in gray, of sum 1, in the dtype and on the device of `like`."""
    return like.new_tensor(_LUMA) if channels == 3 else like.new_full((channels,), 1 / channels)


def _affine(linear: Tensor, offset: Tensor) -> Tensor:
    """Join `[B, C, C]` and `[B, C]` to `[B, C, C+1]`."""
    return torch.cat([linear, offset[..., None]], dim=-1)


def brightness(offset: Tensor, mean_color: Tensor) -> Tensor:
    """Add `offset` `[B]` (1 = from black to white) to every channel; returns `[B, C, C+1]`."""
    return _gains(torch.ones_like(mean_color), offset[:, None].expand_as(mean_color))


def exposure(stops: Tensor, mean_color: Tensor) -> Tensor:
    """Multiply every channel by `2 ** stops` `[B]`; returns `[B, C, C+1]`."""
    return _gains(torch.exp2(stops)[:, None].expand_as(mean_color), torch.zeros_like(mean_color))


def contrast(stops: Tensor, mean_color: Tensor) -> Tensor:
    """Scale the distance from the image's mean gray by `2 ** stops` `[B]`; returns `[B, C, C+1]`."""
    channels = mean_color.shape[1]
    factor = torch.exp2(stops)
    mean_gray = mean_color @ gray_weights(channels, mean_color)
    eye = torch.eye(channels, dtype=stops.dtype, device=stops.device)
    return _affine(factor[:, None, None] * eye, ((1 - factor) * mean_gray)[:, None].expand(-1, channels))


def saturation(stops: Tensor, mean_color: Tensor) -> Tensor:
    """Scale the distance of each pixel from its gray by `2 ** stops` `[B]`; returns `[B, C, C+1]`."""
    channels = mean_color.shape[1]
    factor = torch.exp2(stops)[:, None, None]
    gray = gray_weights(channels, mean_color).expand(channels, channels)
    eye = torch.eye(channels, dtype=stops.dtype, device=stops.device)
    return _affine(factor * eye + (1 - factor) * gray, torch.zeros_like(mean_color))


def hue(degrees: Tensor, mean_color: Tensor) -> Tensor:
    """Rotate the chroma plane (YIQ) by `degrees` `[B]` at constant luma; returns `[B, 3, 4]`.

    Linear in the pixel, unlike the hue of HSV, so that it composes with the other color ops. Positive takes yellow
    to red to magenta, the opposite sense of HSV.
    """
    angle = (degrees * (math.pi / 180))[:, None, None]
    change = (angle.cos() - 1) * degrees.new_tensor(_CHROMA) + angle.sin() * degrees.new_tensor(_TURNED)
    eye = torch.eye(3, dtype=degrees.dtype, device=degrees.device)  # added last, so that 0 degrees change no bit
    return _affine(eye + change, torch.zeros_like(mean_color))


def grayscale(share: Tensor, mean_color: Tensor) -> Tensor:
    """Blend each pixel with its gray by a `share` `[B]` in [0, 1]; returns `[B, C, C+1]`."""
    channels = mean_color.shape[1]
    gray = gray_weights(channels, mean_color).expand(channels, channels)
    eye = torch.eye(channels, dtype=share.dtype, device=share.device)
    return _affine(eye + share[:, None, None] * (gray - eye), torch.zeros_like(mean_color))


def invert(share: Tensor, mean_color: Tensor) -> Tensor:
    """Blend with the negative by a `share` `[B]` in [0, 1]; returns `[B, C, C+1]`."""
    return _gains(1 - 2 * share[:, None].expand_as(mean_color), share[:, None].expand_as(mean_color))


def channel_gain(stops: Tensor, mean_color: Tensor, directions: Tensor) -> Tensor:
    """Multiply every channel by a random factor of its own, up to `2 ** stops` `[B]` up or down; `[B, C, C+1]`.

    The `directions` `[B, C]` are uniform in [0, 1).
    """
    factors = torch.exp2(stops[:, None] * (2 * directions - 1))
    return _gains(factors, torch.zeros_like(mean_color))


def _gain_of(channel: int) -> Callable[[Tensor, Tensor], Tensor]:
    def gain(stops: Tensor, mean_color: Tensor) -> Tensor:
        """Multiply one channel by `2 ** stops` `[B]`; returns `[B, 3, 4]`."""
        chosen = torch.eye(mean_color.shape[1], dtype=stops.dtype, device=stops.device)[channel]
        return _gains(torch.exp2(stops[:, None] * chosen), torch.zeros_like(mean_color))

    return gain


def _gains(factors: Tensor, offset: Tensor) -> Tensor:
    """Return the matrix `[B, C, C+1]` of a factor and an offset for each channel, both `[B, C]`."""
    eye = torch.eye(factors.shape[1], dtype=factors.dtype, device=factors.device)
    return _affine(factors[:, None] * eye, offset)


def _one_number_a_channel(images: Tensor, generator: torch.Generator | None) -> Tensor:
    return uniform_noise(images.shape[1])(images, generator)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Return the matrix `[B, C, C+1]` that applies `first`, then `second`."""
    offset = F.pad(second[..., -1:], (first.shape[1], 0))
    return torch.baddbmm(offset, second[..., :-1], first)


def recolor(images: Tensor, matrix: Tensor) -> Tensor:
    """Apply a color matrix `[B, C, C+1]` to every pixel of images `[B, C, H, W]`; not clamped; both carry gradient."""
    pixels = torch.baddbmm(matrix[..., -1:], matrix[..., :-1], images.flatten(2))
    return pixels.view(images.shape)


COLOR_OPS = (
    ColorOp("brightness", "fraction of the full range", 0.3, "add m to every channel", limit=1.0, matrix=brightness),
    ColorOp("exposure", "stops", 1.0, "every channel times 2^m", limit=8.0, matrix=exposure),
    ColorOp("contrast", "stops", 1.0, "distance from the mean gray times 2^m", limit=8.0, matrix=contrast),
    ColorOp("saturation", "stops", 1.0, "distance from gray times 2^m", limit=8.0, needs_rgb=True, matrix=saturation),
    ColorOp(
        "hue",
        "degrees",
        60.0,
        "turn the chroma plane by m, yellow to red to magenta",
        limit=180.0,
        needs_rgb=True,
        matrix=hue,
    ),
    ColorOp(
        "grayscale", "share", 1.0, "blend with gray by m", signed=False, limit=1.0, needs_rgb=True, matrix=grayscale
    ),
    *(
        ColorOp(name, "stops", 0.5, f"{name} times 2^m", limit=6.0, needs_rgb=True, matrix=_gain_of(channel))
        for channel, name in enumerate(("red", "green", "blue"))
    ),
    ColorOp(
        "channel_gain",
        "stops",
        0.5,
        "each channel times a random factor from 2^-m to 2^m",
        signed=False,
        limit=6.0,
        noise=_one_number_a_channel,
        matrix=channel_gain,
    ),
    ColorOp("invert", "share", 1.0, "blend with the negative by m", signed=False, limit=1.0, matrix=invert),
)
