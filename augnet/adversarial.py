"""Relativistic average adversarial losses, and the discriminators that pretrain the field decoder.

Jolicoeur-Martineau, "The relativistic discriminator" (ICLR 2019): a score counts by its distance above the mean score
of the other kind. The network of Lee et al. (CVPR 2020) is pretrained with them; two discriminators and their layers
are those of a public re-implementation of that paper that trained stably.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augnet.code_encoder import conv_stack
from augnet.draws import uniform


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return `mean softplus(-(r - mean f)) + mean softplus(f - mean r)`; 2 ln 2 where all scores are equal.

    Args:
        real: Scores `[B]` of real images; carry gradient.
        fake: Scores `[B']` of generated images; carry gradient.

    Returns:
        A scalar, to be minimized by the discriminator.
    """
    return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()


def generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return `discriminator_loss` with the two kinds exchanged, to be minimized by the generator through `fake`."""
    return discriminator_loss(fake, real)


class Discriminators(nn.Module):
    """A discriminator of pixels and, where their number is given, one of the features of a classifier.

    The first has the layers of the encoder with LeakyReLU 0.2 and one output, the second is one linear layer.

    Args:
        channels: C of the images.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        features: D of the classifier's features, or None for pixels only.
        generator: Source of the initial weights; `None` is torch's default generator.
    """

    def __init__(
        self, channels: int, height: int, width: int, features: int | None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        with torch.device("meta"):  # no memory and no draws yet
            scorers: list[nn.Module] = [conv_stack(channels, height, width, 1, lambda: nn.LeakyReLU(0.2))]
            if features is not None:
                scorers.append(nn.Linear(features, 1))
        self.scorers = nn.ModuleList(scorers).to_empty(device="cpu")
        for parameter in self.parameters():
            if parameter.ndim > 1:  # uniform with a variance of 1 / inputs
                spread = (12 / parameter[0].numel()) ** 0.5
                parameter.data.copy_((uniform(parameter.shape, parameter, generator) - 0.5) * spread)
            else:
                nn.init.zeros_(parameter)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        """Return the scores `[B]` of each discriminator.

        Args:
            inputs: The images `[B, C, H, W]` and, where there is a discriminator for them, their features `[B, D]`;
                carry gradient.
        """
        return [scorer(given)[:, 0] for scorer, given in zip(self.scorers, inputs, strict=True)]
