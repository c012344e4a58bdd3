"""Filter normalization (Li et al., 2018, "Visualizing the Loss Landscape of Neural Nets").

A filter is the set of weights of one output: the slice `weight[o]` of a convolution or of a linear layer. Scaling a
filter in front of a batch normalization does not change the function; steps in units of the norm of each filter are
invariant to it too. Tensors of one axis (biases, batch normalization) are not moved.
"""

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]


def filter_weights(model: nn.Module) -> Tensors:
    """Return the weights of two or more axes, by name, detached; they share memory with the model.

    Raises:
        ValueError: If there is none.
    """
    weights = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.ndim >= 2}
    if not weights:
        raise ValueError(f"{type(model).__name__} has no weight of two or more axes: nothing to move.")
    return weights


def filter_norms(weight: Tensor) -> Tensor:
    """Return the norm of each filter `weight[o]`, of shape `[O, 1, ...]`, in at least float32."""
    precise = weight.to(torch.promote_types(weight.dtype, torch.float32))
    norms: Tensor = precise.flatten(1).norm(dim=1)
    return norms.view(-1, *[1] * (weight.ndim - 1))


def filter_direction(weights: Tensors, generator: torch.Generator) -> Tensors:
    """Draw a Gaussian direction whose filters have the norms of the filters of the weights.

    The generator is on the CPU, so that the draws are the same on every device.
    """
    direction = {}
    for name, weight in weights.items():
        draws = torch.randn(weight.shape, generator=generator).to(weight)
        direction[name] = draws * (filter_norms(weight) / filter_norms(draws)).to(weight.dtype)
    return direction


def total_norm(tensors: Tensors) -> float:
    """Return the Euclidean norm of all entries together."""
    return float(torch.stack([tensor.double().square().sum() for tensor in tensors.values()]).sum().sqrt())
