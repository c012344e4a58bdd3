"""TrivialAugment-Wide (Müller and Hutter, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from augnet.baselines.base import Baseline
from augnet.baselines.rounds import apply_round
from augnet.draws import integers
from augnet.scales import RAND_OPS, TRIVIAL, table


class TrivialAugment(Baseline):
    """One of 14 ops with one of 31 strengths, both uniform, and a random sign, as torchvision's TrivialAugmentWide."""

    def sample(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw rows `[B, P]` of `classic_space()`."""
        rows = table(TRIVIAL, RAND_OPS, *images.shape[-2:]).flatten(0, 2).to(images.device)
        chosen = rows[integers(len(rows), (len(images),), images, generator)]
        return chosen.to(torch.promote_types(images.dtype, torch.float32))

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, 3 or 1, H, W]`; see `apply_round`."""
        return apply_round(images, self.sample(images, generator))
