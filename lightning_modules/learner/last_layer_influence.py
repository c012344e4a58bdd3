"""Influence on the loss of the influence set, kept up to date while the classifier moves.

    S = (H + damping)^-1 g,   I_i = -r_i^T S [h_i; 1]

with the gradient `g` of the influence set's loss in the last layer, the Hessian `H` of the training loss there, from
the newest rows that were added, and the derivative `r_i` of sample i's loss in its logits.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from influence import FeatureBank, LastLayerHessian, Solution, loss_gradient, solve, upweight_influence
from influence.losses import Loss
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.settings import LearnerSettings

_CHUNK = 128  # images of the influence set in one pass of the network: no more memory than a training step takes
_UNSOLVED = Solution(torch.zeros(0), math.nan, 0, "none", False)


@dataclass(eq=False)
class LastLayerInfluence:
    """The solution S with the rows of the Hessian and the influence set that it is solved from.

    The classifier must be frozen and in evaluation mode at each call; all ranks call `gradient` at the same time. The
    influence set, images `[M, C, H, W]` in [0, 1] and labels `[M]`, may be replaced between calls. Without `curvature`
    the identity takes the place of the Hessian. The influence set is judged by the training `loss` without its
    smoothing.
    """

    capture: FeatureCapture
    influence_set: tuple[Tensor, Tensor]
    settings: LearnerSettings
    curvature: bool
    ranks: Ranks
    forward_context: Callable[[], AbstractContextManager[Any]]
    loss: Loss

    def __post_init__(self) -> None:
        self.bank = FeatureBank(self.settings.hessian_rows, self.loss)
        self.solution = _UNSOLVED  # the one in use; of no iterations before the first
        self.held_out_loss = math.nan

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[B, D]` and logits `[B, K]` of images `[B, C, H, W]`; carry gradient to them."""
        with self.forward_context():
            return self.capture(images)

    @torch.no_grad()
    def gradient(self) -> Tensor | None:
        """Gradient `[K, D+1]` of the loss on the whole influence set, as it is now; None if it is not finite.

        It is the mean over the ranks, whose batch statistics differ, and so the same on all of them, as None is.
        It takes one pass of the network: ask for it while no other pass holds its activations.
        """
        parts = [self.features_and_logits(part) for part in self.influence_set[0].split(_CHUNK)]
        features, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        targets, held_out = self.influence_set[1], self.loss.held_out
        loss = held_out.mean(logits.float(), targets)
        if bool(loss.isfinite() & features.isfinite().all()):
            gradient = loss_gradient(features, logits, targets, loss=held_out)
        else:
            gradient = loss.new_full((logits.shape[1], features.shape[1] + 1), math.nan)
        self.ranks.average(loss, gradient)
        self.held_out_loss = float(loss)
        return gradient if bool(loss.isfinite() & gradient.isfinite().all()) else None

    @torch.no_grad()
    def solve(self, gradient: Tensor) -> None:
        """Solve for S anew, from the bank and a `gradient`."""
        features, logits, targets = self.bank.rows()
        self.solution = solve(
            LastLayerHessian(features, logits, damping=self.settings.damping, targets=targets, loss=self.loss),
            gradient,
            method="auto" if self.curvature else "identity",
            tol=self.settings.tol,
            max_iterations=self.settings.max_iterations,
            initial=self.solution.value if self.solved else None,
        )

    @property
    def solved(self) -> bool:
        """True once there is a solution."""
        return self.solution is not _UNSOLVED

    def of(self, features: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """Influence `[B]` of samples on the loss of the influence set, see `upweight_influence`; negative helps."""
        if not self.solved:
            raise RuntimeError("no solution yet: call solve first")
        return upweight_influence(self.solution, features, logits, targets, self.loss)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs; tensors and numbers only."""
        solution = vars(self.solution) if self.solved else None
        return {"bank": self.bank.state_dict(), "solution": solution, "loss": self.held_out_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.bank.load_state_dict(state["bank"])
        self.solution = _UNSOLVED if state["solution"] is None else Solution(**state["solution"])
        self.held_out_loss = state["loss"]
