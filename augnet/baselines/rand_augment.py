"""RandAugment (Cubuk et al., 2020) and TrivialAugment-Wide (Müller and Hutter, 2021)."""

import torch
from torch import Tensor

from augnet.baselines.base import Baseline
from augnet.classic import RAND, RAND_OPS, TRIVIAL, apply_classic, table
from augnet.draws import integers


class RandAugment(Baseline):
    """Ops drawn uniformly from 14, with replacement, one after the other, each with a random sign.

    Args:
        rounds: Number of ops, >= 1.
        magnitude: Strength of all ops, from 0 to 30.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, rounds: int = 2, magnitude: int = 9) -> None:
        super().__init__()
        if rounds < 1 or not 0 <= magnitude < RAND.bins:
            raise ValueError(
                f"expected rounds >= 1 and magnitude in 0 ... {RAND.bins - 1}, found {rounds} and {magnitude}"
            )
        self.rounds, self.magnitude = rounds, magnitude

    def sample(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw the rows `[rounds, B, P]` of `classic_space()`, to be applied in this order."""
        rows = table(RAND, RAND_OPS, *images.shape[-2:])[:, self.magnitude].flatten(0, 1)
        return rows.to(images.device)[integers(len(rows), (self.rounds, len(images)), images, generator)]

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, 3 or 1, H, W]`; see `apply_classic`."""
        for rows in self.sample(images, generator):
            images = apply_classic(images, rows)
        return images


class TrivialAugment(Baseline):
    """One of 14 ops with one of 31 strengths, both uniform, and a random sign, as torchvision's TrivialAugmentWide."""

    def sample(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw rows `[B, P]` of `classic_space()`."""
        rows = table(TRIVIAL, RAND_OPS, *images.shape[-2:]).flatten(0, 2).to(images.device)
        chosen = rows[integers(len(rows), (len(images),), images, generator)]
        return chosen.to(torch.promote_types(images.dtype, torch.float32))

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, 3 or 1, H, W]`; see `apply_classic`."""
        return apply_classic(images, self.sample(images, generator))
