"""Random numbers for a batch, from a generator on any device."""

import torch
from torch import Tensor


def device_of(images: Tensor, generator: torch.Generator | None) -> torch.device:
    """Return the generator's device, or that of the images if there is none."""
    return images.device if generator is None else generator.device


def integers(limit: int, shape: tuple[int, ...], images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw uniformly from 0 to `limit - 1`, int64 of the given shape, on the device of `images`."""
    drawn = torch.randint(limit, shape, generator=generator, device=device_of(images, generator))
    return drawn.to(images.device)


def uniform(shape: tuple[int, ...], images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw uniformly from [0, 1), float32 of the given shape, on the device of `images`."""
    drawn = torch.rand(shape, generator=generator, device=device_of(images, generator), dtype=torch.float32)
    return drawn.to(images.device)


def dirichlet(alpha: float, shape: tuple[int, ...], images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw symmetric Dirichlet weights of sum 1 along the last axis, float32; two of them are Beta(alpha, alpha) each.

    They are drawn in float64 and clamped away from 0, so that the sum stays positive for small `alpha`.
    """
    concentration = torch.full(shape, alpha, dtype=torch.float64, device=device_of(images, generator))
    gammas = torch._standard_gamma(concentration, generator).clamp(min=torch.finfo(torch.float64).tiny)
    return (gammas / gammas.sum(-1, keepdim=True)).to(images.device, torch.float32)
