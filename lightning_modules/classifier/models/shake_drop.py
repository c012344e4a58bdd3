"""PyramidNet with ShakeDrop (Han et al., 2017; Yamada, Iwamura, Akiba and Kise, 2019) for 32 x 32 images."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.classifier.models.build import build_model


class ShakeDrop(nn.Module):
    """Scales the residual branch F of some images randomly in training, and of all by a constant in evaluation.

        G(x) = x + (b + alpha - b alpha) F(x)   forward,   alpha ~ U(-1, 1)
        G(x) = x + (b + beta - b beta) F(x)     backward,  beta ~ U(0, 1)
        G(x) = x + keep F(x)                    evaluation: the mean of the forward factor

    with `b` = 1 with probability `keep`, otherwise 0. All three are drawn for each image, as in AutoAugment's code;
    Yamada et al. compare draws for a batch, an image, a channel and a pixel.

    Args:
        keep: Probability that a branch is not changed in training, in [0, 1].
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        if not 0 <= keep <= 1:
            raise ValueError(f"keep must lie in [0, 1], found {keep}.")
        self.keep = keep

    def forward(self, branch: Tensor) -> Tensor:
        """Return the scaled branch `[B, C, H, W]`; its gradient is scaled by other random numbers."""
        if not self.training:
            return self.keep * branch
        gate, alpha, beta = torch.rand(3, len(branch), 1, 1, 1, device=branch.device)
        forwards, backwards = (torch.where(gate < self.keep, 1.0, factor) for factor in (2 * alpha - 1, beta))
        shaken: Tensor = _Scale.apply(branch, forwards.to(branch), backwards.to(branch))
        return shaken


class _Scale(torch.autograd.Function):
    """Multiplication by one factor in the forward pass and by another in the backward pass."""

    @staticmethod
    def forward(ctx: Any, branch: Tensor, forwards: Tensor, backwards: Tensor) -> Tensor:
        ctx.save_for_backward(backwards)
        return forwards * branch

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (backwards,) = ctx.saved_tensors
        return backwards * gradients[0], None, None


def pyramidnet_shakedrop(
    num_classes: int, in_channels: int = 3, base: str = "pyramidnet272_a200_bn_cifar10", final_keep: float = 0.5
) -> nn.Module:
    """Build a PyramidNet of pytorchcv whose unit l of L keeps its branch with probability `1 - l / L (1 - p_L)`.

    Args:
        num_classes: Number of classes, K.
        in_channels: Channels of the images: 1 for gray, 3 for RGB.
        base: A PyramidNet of pytorchcv for CIFAR; by default 272 layers with bottlenecks, widened by 200 channels.
        final_keep: `p_L`, in [0, 1].

    Raises:
        ValueError: If there is no such PyramidNet, or an argument is out of range.
    """
    if not 0 <= final_keep <= 1:
        raise ValueError(f"final_keep must lie in [0, 1], found {final_keep}.")
    from pytorchcv.models.pyramidnet import PyrUnit  # here, as only this network needs it

    network = build_model(f"pytorchcv/{base}", num_classes, in_channels)
    units = [module for module in network.modules() if isinstance(module, PyrUnit)]
    if not units:
        raise ValueError(f"pytorchcv/{base} is no PyramidNet: give a name such as pyramidnet110_a48_cifar10.")
    for number, unit in enumerate(units, start=1):
        unit.bn = nn.Sequential(unit.bn, ShakeDrop(1 - number / len(units) * (1 - final_keep)))
    return network
