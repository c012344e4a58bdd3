"""AutoAugment (Cubuk et al., 2019) with the policy for CIFAR-10."""

from functools import lru_cache

import torch
from torch import Tensor

from augnet.baselines.base import Baseline
from augnet.classic import AUTO, CLASSIC_OPS, ClassicOp, apply_classic, table
from augnet.draws import integers, uniform

# 25 pairs of (op, probability, bin of strength from 0 to 9)
OP_PAIRS: tuple[tuple[tuple[ClassicOp, float, int], tuple[ClassicOp, float, int]], ...] = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
)
PROBABILITIES = tuple(zip(*[[probability for _, probability, _ in pair] for pair in OP_PAIRS], strict=True))  # [2][25]


@lru_cache(maxsize=16)
def _rows(height: int, width: int) -> Tensor:
    """Return the rows of both rounds for every pair and sign, `[2, 25, 2, P]`."""
    rows = table(AUTO, CLASSIC_OPS, height, width)
    chosen = [[rows[CLASSIC_OPS.index(op), strength] for op, _, strength in pair] for pair in OP_PAIRS]
    return torch.stack([torch.stack(pair) for pair in chosen], dim=1)


class AutoAugment(Baseline):
    """One of 25 pairs of ops, in order, each op with its own probability, strength and a random sign."""

    def sample(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw the rows `[2, B, P]` of `classic_space()`, to be applied in this order; 0 where an op is skipped."""
        count = len(images)
        pairs = integers(len(OP_PAIRS), (count,), images, generator)
        signs = integers(2, (2, count), images, generator)
        chances = uniform((2, count), images, generator)
        kept = chances < torch.tensor(PROBABILITIES, device=images.device)[:, pairs]
        rounds = torch.arange(2, device=images.device)[:, None]
        rows = _rows(*images.shape[-2:]).to(images.device)[rounds, pairs, signs]
        return rows * kept[..., None]

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, 3 or 1, H, W]`; see `apply_classic`."""
        for rows in self.sample(images, generator):
            images = apply_classic(images, rows)
        return images
