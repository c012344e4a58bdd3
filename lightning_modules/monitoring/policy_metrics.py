"""The metrics of one policy update, and the message about what the guard did."""

import math
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from augnet import AugNet
from lightning_modules.learner.guard import Guard
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate
from lightning_modules.monitoring.alerts import announce


def policy_metrics(update: PolicyUpdate, augnet: AugNet[Any, Any], guard: Guard) -> dict[str, Tensor | float]:
    """Keys and values of an update, for `log_dict`; `lightning_modules.monitoring.metric_keys` documents them.

    Args:
        update: The update.
        augnet: The policy as it is learned so far.
        guard: As it is after the update.
    """
    described, logged = augnet.describe(), augnet.policy.logged
    moved = {} if math.isnan(update.feature_move) else {"policy/feature_move": update.feature_move}
    return {
        "influence/mean": update.influence.mean(),
        "influence/loss": update.influence_loss,
        "influence/ihvp_residual": update.solution.relative_residual,
        "influence/cg_iters": float(update.solution.iterations),
        "policy/retention": update.retention,
        "policy/rollbacks": float(update.rollbacks),
        "policy/unhealthy": float(guard.unhealthy_in_a_row),
        "policy/gave_up": float(guard.gave_up),
        "policy/pixel_change": update.pixel_change,
        **moved,
        **{f"{logged[fact]}/{op}": facts[fact] for op, facts in described.items() for fact in logged},
    }


def announced(trainer: pl.Trainer, learner: PolicyLearner, update: PolicyUpdate) -> dict[str, Tensor | float]:
    """Announce what was done to the policy in an update, if anything was, and return the metrics of the update.

    Args:
        trainer: Its loggers get the message.
        learner: As it is after the update.
        update: The update.
    """
    if update.event is not None:
        announce(update.event, learner.guard.gave_up, trainer.loggers)
    return policy_metrics(update, learner.result, learner.guard)
