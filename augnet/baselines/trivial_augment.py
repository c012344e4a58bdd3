"""TrivialAugment-Wide (Müller and Hutter, 2021): one op, any strength."""

from __future__ import annotations

import torch
from torch import Tensor

from augnet.baselines.base import Baseline
from augnet.baselines.rounds import apply_round
from augnet.baselines.scale import RAND_OPS, TRIVIAL, table
from augnet.policies import Policy


class TrivialAugment(Baseline, Policy):
    """One of 14 ops with one of 31 strengths, both uniform, and a random sign, as torchvision's TrivialAugmentWide."""

    @property
    def draws(self) -> int:
        """One random number decides on op, strength and sign."""
        return 1

    def magnitudes(self, images: Tensor, labels: Tensor | None, uniform: Tensor) -> Tensor:
        """Rows `[B, P]` of `classic_space()`; they carry no gradient. Labels are not looked at."""
        rows = table(TRIVIAL, RAND_OPS, *images.shape[-2:]).flatten(0, 2).to(images.device)
        chosen = rows[(uniform[:, 0] * len(rows)).long().clamp(max=len(rows) - 1)]
        return chosen.to(torch.promote_types(images.dtype, torch.float32))

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, 3 or 1, H, W]`, see `apply_round`."""
        return apply_round(images, self.sample(images, generator=generator))
