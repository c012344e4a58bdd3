"""What is logged after an update of the policy."""

from torch import Tensor

from augnet import AugNet
from lightning_modules.learner import PolicyUpdate


def update_metrics(update: PolicyUpdate, augnet: AugNet) -> dict[str, Tensor | float]:
    """Keys and values, for `log_dict`.

    Args:
        update: What the update saw.
        augnet: The policy after it.
    """
    return {
        "influence/mean": update.influence.mean(),
        "influence/loss": update.influence_loss,
        "influence/ihvp_residual": update.solution.relative_residual,
        "influence/cg_iters": float(update.solution.iterations),
        "policy/retention": update.retention,
        **{f"range/{name}": float(facts["half_width"]) for name, facts in augnet.describe().items()},
    }
