"""An update of the policy inside a training, with what is logged after it."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from augnet import AugNet
from lightning_modules.learner import PolicyLearner, PolicyUpdate


def update_policy(learner: PolicyLearner, module: pl.LightningModule, images: Tensor, labels: Tensor) -> PolicyUpdate:
    """Move the policy once, log what the update saw, and say it if the guard did something.

    Args:
        learner: Of the policy.
        module: Logs.
        images: The training batch `[B, C, H, W]` in [0, 1], not augmented.
        labels: `[B]`.
    """
    update = learner.update(images, labels)
    module.log_dict(update_metrics(update, learner.augnet))
    if update.event is not None:
        rank_zero_warn(update.event)
    return update


def is_training(trainer: pl.Trainer) -> bool:
    """Whether steps change the classifier; they do not in the pass in which SWA measures its batch statistics."""
    return not getattr(trainer.fit_loop, "_skip_backward", False)


def update_metrics(update: PolicyUpdate, augnet: AugNet[Any, Any]) -> dict[str, Tensor | float]:
    """Keys and values, for `log_dict`.

    Args:
        update: What the update saw.
        augnet: The policy after it.
    """
    described, logged = augnet.describe(), augnet.policy.logged
    return {
        "influence/mean": update.influence.mean(),
        "influence/loss": update.influence_loss,
        "influence/ihvp_residual": update.solution.relative_residual,
        "influence/cg_iters": float(update.solution.iterations),
        "policy/retention": update.retention,
        "policy/rollbacks": float(update.rollbacks),
        **{f"{logged[fact]}/{op}": facts[fact] for op, facts in described.items() for fact in logged},
    }
