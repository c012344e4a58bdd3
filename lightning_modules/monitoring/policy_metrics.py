"""The metrics of one policy update."""

import math
from typing import Any

from torch import Tensor

from augnet import AugNet
from lightning_modules.learner.guard import Guard
from lightning_modules.learner.policy_learner import PolicyUpdate


def policy_metrics(update: PolicyUpdate, augnet: AugNet[Any, Any], guard: Guard) -> dict[str, Tensor | float]:
    """Return keys and values of an update, for `log_dict`; `lightning_modules.monitoring.metric_keys` documents them.

    Policy and guard are as they are after the update.
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
