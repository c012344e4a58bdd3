"""Images, magnitudes and noise for the tests of augnet, the same on every call."""

import torch
from torch import Tensor

from augnet import TransformSpace
from augnet.fused import Noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, low: float = 0.0, high: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Uniform noise in `[low, high]`."""
    images = torch.rand(*shape, generator=generator(), dtype=torch.float64)
    return (low + (high - low) * images).to(dtype)


def constant(count: int, value: float) -> Tensor:
    """The same magnitude for each image, `[count]`, not rounded to float32."""
    return torch.full((count,), value, dtype=torch.float64)


def blob(side: int = 33) -> Tensor:
    """One image `[1, 3, side, side]`: a smooth, slanted, off-center, colored ellipse on black.

    No symmetry hides a change, and the distance from it to its transformed copy grows with the strength.
    """
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    y, x = torch.meshgrid(axis - 0.15, axis - 0.2, indexing="ij")
    along, across = 0.9 * x + 0.4 * y, 0.4 * x - 0.9 * y
    ellipse = torch.exp(-((along / 0.5) ** 2) - (across / 0.3) ** 2)
    return ellipse * torch.tensor([0.8, 0.5, 0.3], dtype=torch.float64)[None, :, None, None]


def in_units(space: TransformSpace, fractions: Tensor) -> Tensor:
    """Fractions `[B, P]` of the bounds as magnitudes that the ops understand: >= 0 where an op has no sign."""
    signed = fractions.new_tensor(space.signed, dtype=torch.bool)
    return torch.where(signed, fractions, fractions.abs()) * fractions.new_tensor(space.bounds)


def draw(space: TransformSpace, count: int, share: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Magnitudes `[count, P]` between minus and plus a share of the bounds."""
    return in_units(space, share * noise(count, len(space), low=-1, dtype=dtype))


def rows(noise: Noise, index: slice | Tensor) -> Noise:
    """The noise of some images of a batch."""
    return {name: values[index] for name, values in noise.items()}


def applied(name: str, images: Tensor, magnitudes: Tensor) -> Tensor:
    """One op at magnitudes `[B]`, at any strength it allows, with the noise of seed 0."""
    return TransformSpace([name]).apply(images, magnitudes[:, None], generator=generator())
