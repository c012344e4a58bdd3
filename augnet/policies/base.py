"""What every policy promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from augnet.ops.base import uniform


class Policy(nn.Module, ABC):
    """A distribution over the magnitudes of P ops, learned or fixed; a magnitude of 0 leaves an op out.

    A policy is a function from uniform random numbers to magnitudes, and draws nothing itself. So the same function
    runs where there is no generator of torch, as in an exported graph.
    """

    @property
    @abstractmethod
    def draws(self) -> int:
        """U, how many uniform random numbers the magnitudes of one image take."""

    @abstractmethod
    def magnitudes(self, images: Tensor, labels: Tensor | None, uniform: Tensor) -> Tensor:
        """Magnitudes `[B, P]` in the ops' units, one row per image, for given random numbers.

        Args:
            images: `[B, C, H, W]` in [0, 1]; most policies do not look at them.
            labels: `[B]` class numbers or `[B, K]` probabilities, for policies that are conditioned on them.
            uniform: `[B, U]` independent and uniform in [0, 1); not differentiated.

        Returns:
            Magnitudes; they carry gradient to the policy where it is learned by reparametrisation.
        """

    def sample(self, images: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw magnitudes `[B, P]`: `magnitudes` of fresh random numbers.

        Args:
            images: As for `magnitudes`.
            labels: As for `magnitudes`.
            generator: Source of the draws; `None` is the default generator of the images' device.
        """
        return self.magnitudes(images, labels, uniform(self.draws)(images, generator))
