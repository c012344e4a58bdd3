"""Random numbers for a batch, from one generator on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def device_of(images: Tensor, generator: torch.Generator | None) -> torch.device:
    """Where to draw: the generator's device, or that of the images."""
    return images.device if generator is None else generator.device


def integers(limit: int, shape: tuple[int, ...], images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform in 0 to `limit - 1`, int64 of the given shape, on the device of `images`."""
    drawn = torch.randint(limit, shape, generator=generator, device=device_of(images, generator))
    return drawn.to(images.device)


def uniform(shape: tuple[int, ...], images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform in [0, 1), float32 of the given shape, on the device of `images`."""
    drawn = torch.rand(shape, generator=generator, device=device_of(images, generator), dtype=torch.float32)
    return drawn.to(images.device)


def dirichlet(alpha: float, shape: tuple[int, ...], images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Symmetric Dirichlet weights, of sum 1 along the last axis, float32; with two of them each is Beta(alpha, alpha).

    Drawn in float64 and kept away from 0, so that the sum stays positive for small `alpha`.
    """
    concentration = torch.full(shape, alpha, dtype=torch.float64, device=device_of(images, generator))
    gammas = torch._standard_gamma(concentration, generator).clamp(min=torch.finfo(torch.float64).tiny)
    return (gammas / gammas.sum(-1, keepdim=True)).to(images.device, torch.float32)
