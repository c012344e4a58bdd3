"""Images for the tests of augnet."""

import torch
from torch import Tensor


def noise(*shape: int, low: float = 0.0, high: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Uniform noise in `[low, high]`, the same on every call."""
    images = torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (low + (high - low) * images).to(dtype)


def blob(side: int = 33) -> Tensor:
    """One image `[1, 3, side, side]`: a smooth, slanted, off-centre, coloured ellipse on black.

    No symmetry hides a change, and the distance from it to its transformed copy grows with the strength.
    """
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    y, x = torch.meshgrid(axis - 0.15, axis - 0.2, indexing="ij")
    along, across = 0.9 * x + 0.4 * y, 0.4 * x - 0.9 * y
    ellipse = torch.exp(-((along / 0.5) ** 2) - (across / 0.3) ** 2)
    return ellipse * torch.tensor([0.8, 0.5, 0.3], dtype=torch.float64)[None, :, None, None]
