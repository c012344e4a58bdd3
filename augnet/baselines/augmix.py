"""AugMix (Hendrycks et al., 2020): chains of weak ops, blended with the image."""

import torch
from torch import Tensor

from augnet.baselines.base import Baseline
from augnet.classic import MIX, RAND_OPS, apply_classic, table
from augnet.draws import dirichlet, integers

_DEPTH = 3  # largest number of ops in a chain
_OPS = tuple(op for op in RAND_OPS if op != "identity")


class AugMix(Baseline):
    """Chains of 1 to 3 ops each, blended by Dirichlet weights; the blend and the image by a Beta weight.

    Ops, strengths and bilinear resampling are those of torchvision's AugMix. The consistency loss of the paper is not
    part of it.

    Args:
        severity: Strengths are drawn from the weakest `severity` of 10.
        chains: Number of chains, >= 1.
        alpha: Parameter of the Dirichlet and of the Beta distribution, > 0.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, severity: int = 3, chains: int = 3, alpha: float = 1.0) -> None:
        super().__init__()
        if not 1 <= severity <= MIX.bins or chains < 1 or not 0 < alpha < float("inf"):
            raise ValueError(
                f"expected severity in 1 ... {MIX.bins}, chains >= 1 and alpha > 0, "
                f"found {severity}, {chains} and {alpha}"
            )
        self.severity, self.chains, self.alpha = severity, chains, alpha

    def sample(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw the chains and their weights.

        Returns:
            Rows `[3, chains, B, P]` of `classic_space()`, to be applied in the order of the first axis, 0 past the
            end of a chain; weights `[chains + 1, B]` of sum 1, first that of the image itself.
        """
        count = len(images)
        rows = table(MIX, _OPS, *images.shape[-2:])[:, : self.severity].flatten(0, 2).to(images.device)
        chosen = rows[integers(len(rows), (_DEPTH, self.chains, count), images, generator)]
        depth = 1 + integers(_DEPTH, (self.chains, count), images, generator)
        inside = torch.arange(_DEPTH, device=images.device)[:, None, None] < depth
        own, blend = dirichlet(self.alpha, (count, 2), images, generator).unbind(1)
        weights = dirichlet(self.alpha, (count, self.chains), images, generator).T * blend
        return chosen * inside[..., None], torch.cat([own[None], weights])

    def augment(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment `[B, 3 or 1, H, W]`; see `apply_classic`."""
        rows, weights = self.sample(images, generator)
        precise = images.to(torch.promote_types(images.dtype, torch.float32))
        blended = precise.repeat(self.chains, 1, 1, 1)
        for step in rows:
            blended = apply_classic(blended, step.flatten(0, 1), "bilinear")
        parts = torch.cat([precise[None], blended.view(self.chains, *images.shape)])
        return torch.einsum("nb,nbchw->bchw", weights.to(precise), parts).clamp(0, 1).to(images.dtype)
