"""Gradients through a network that runs in float16, whose range, 6e-8 to 65504, is too small for them.

The gradient of a mean over a batch at the pixels of an image lies below that range for large batches or images: it
would be zero, and the policy would be learned from nothing. As for the classifier's own gradient, the objective is
multiplied by a power of two and the result divided by it (loss scaling: Micikevicius et al., ICLR 2018, section 3.2);
where that overflows, by smaller ones.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_ABOVE = 2.0**8  # keeps the gradient of one image of 32 to 224 pixels in the middle of the range
_BACKOFF = 2.0**-8
_ATTEMPTS = 4


def gradients_through(network_type: torch.dtype, mean: Tensor, count: int, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of a mean over images; exact up to the rounding of the network's type.

    Args:
        network_type: Of the network's outputs. All but float16 have the range of float32, and nothing is scaled.
        mean: The objective, a scalar; it carries gradient to `inputs`.
        count: Of how many images it is the mean.
        inputs: Float32 or float64.

    Returns:
        One gradient for each input; not finite if float16 overflows at every scale.
    """
    if network_type != torch.float16:
        return list(torch.autograd.grad(mean, inputs))
    scale = _ABOVE * 2.0 ** (count - 1).bit_length()
    for _ in range(_ATTEMPTS):
        scaled = torch.autograd.grad(scale * mean, inputs, retain_graph=True)
        if all(bool(gradient.isfinite().all()) for gradient in scaled):
            break
        scale *= _BACKOFF
    return [gradient / scale for gradient in scaled]
