"""Watches the health of a policy while it is learned, and rolls it back to its last healthy state.

The influence has no lower bound (it is linear in the features of a confidently wrong image), so minimizing it can
reward augmentations that destroy labels: the policy then collapses while its objective improves. What shows it early
is retention, the accuracy on augmented images relative to the originals, and ranges pressed against their bounds.
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lightning_modules.learner.checks import check_numbers


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """Limits of a healthy policy, and the number of roll-backs.

    Args:
        min_retention: Smallest accuracy on augmented images / accuracy on originals, in [0, 1]; 0 switches it off. A
            retention counts as too small only where the numbers of right answers leave no doubt (two standard
            deviations), so a network that has learned nothing yet raises no alarm.
        max_saturated: Largest share of the policy's strengths within 5 % of their bound, in [0, 1]; 1 switches it off.
        max_residual: Largest relative residual of the solve; above 1 a solution is worse than none.
        patience: Unhealthy updates in a row before the policy is rolled back; values that are not finite roll it back
            at once.
        max_rollbacks: Roll-backs after which the policy stays as it is for the rest of the run.
    """

    min_retention: float = 0.5
    max_saturated: float = 0.9
    max_residual: float = 1.0
    patience: int = 5
    max_rollbacks: int = 3

    def __post_init__(self) -> None:
        check_numbers("guard.", "[0, 1]", min_retention=self.min_retention, max_saturated=self.max_saturated)
        check_numbers("guard.", "(0, 1e9]", max_residual=self.max_residual)
        check_numbers("guard.", "[1, 1000000]", patience=self.patience, max_rollbacks=self.max_rollbacks)


@dataclass(frozen=True)
class Health:
    """Signs of health in one update.

    Attributes:
        retention: Accuracy on augmented images / accuracy on originals, or the highest that noise allows.
        saturated: Share of the policy's strengths within 5 % of their bound, in [0, 1].
        residual: Relative residual of the solve.
        finite: Whether loss, influences and gradients were numbers.
    """

    retention: float
    saturated: float
    residual: float
    finite: bool = True

    def symptoms(self, settings: GuardSettings) -> list[str]:
        """Return the signs that are out of their limits, in words; empty if the policy is healthy."""
        found = []
        if not self.finite:
            found.append("the loss or the influence is not finite")
        if not self.retention >= settings.min_retention:
            found.append(f"retention is {self.retention:.2f}, below {settings.min_retention:g}")
        if not self.saturated <= settings.max_saturated:
            found.append(f"{self.saturated:.0%} of the strengths are at their bound, over {settings.max_saturated:.0%}")
        if not self.residual <= settings.max_residual:
            found.append(f"the solve left a residual of {self.residual:.2g}, over {settings.max_residual:g}")
        return found


def highest_retention(on_augmented: int, on_originals: int) -> float:
    """Highest retention that the numbers of right answers allow, two standard deviations up; infinite without any."""
    if on_originals == 0:
        return math.inf
    return (on_augmented + 2 * math.sqrt(on_originals)) / on_originals


class Guard:
    """Keeps the last healthy state of a policy."""

    def __init__(self, policy: nn.Module, settings: GuardSettings) -> None:
        self.policy, self.settings = policy, settings
        self.healthy = _copy(policy)
        self.unhealthy_in_a_row = 0
        self.rollbacks = 0

    @property
    def gave_up(self) -> bool:
        """True if the policy is not to be learned any more."""
        return self.rollbacks >= self.settings.max_rollbacks

    def check(self, health: Health) -> str | None:
        """Check the policy before the step of an update; roll it back if it is time.

        Returns:
            The roll-back and its reason, for people; None if there was none.
        """
        symptoms = health.symptoms(self.settings)
        if not symptoms and _finite(self.policy):
            self.healthy = _copy(self.policy)
            self.unhealthy_in_a_row = 0
            return None
        self.unhealthy_in_a_row += 1
        hopeless = not health.finite or not _finite(self.policy)
        if not hopeless and self.unhealthy_in_a_row < self.settings.patience:
            return None
        self.policy.load_state_dict(self.healthy)
        self.unhealthy_in_a_row = 0
        self.rollbacks += 1
        reason = "; ".join(symptoms or ["a parameter of the policy is not finite"])
        end = " It stays there for the rest of the run." if self.gave_up else ""
        return f"The policy was rolled back to its last healthy state ({reason}).{end}"

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        counts = {"unhealthy_in_a_row": self.unhealthy_in_a_row, "rollbacks": self.rollbacks}
        return {"healthy": self.healthy, **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.healthy = {name: tensor.clone() for name, tensor in state["healthy"].items()}
        self.unhealthy_in_a_row, self.rollbacks = state["unhealthy_in_a_row"], state["rollbacks"]


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _finite(module: nn.Module) -> bool:
    """Return True if every parameter is finite."""
    return all(bool(parameter.isfinite().all()) for parameter in module.parameters())
