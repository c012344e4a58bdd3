"""The moving average of a policy over its updates, and whether it still moves."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from augnet.policies import Policy

WINDOW = 100  # updates without movement before a policy counts as settled


class PolicyAverage:
    """An exponential moving average of a policy's parameters.

    The share of the past grows from 0 to `decay` over the first updates, so that the start has no lasting weight:
    after n updates it is `min(decay, n / (n + 9))`, with a decay in [0, 1). The policy given is copied.
    """

    def __init__(self, policy: Policy, decay: float) -> None:
        self.policy = deepcopy(policy).requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self.history: list[list[float]] = []  # the strengths of the average after each of the latest updates

    @torch.no_grad()
    def update(self, policy: Policy, space: Any) -> None:
        """Take in the policy over this space after its latest update."""
        share = 1 - min(self.decay, self.updates / (self.updates + 9))
        for name, average in self.policy.state_dict().items():
            latest = policy.state_dict()[name]
            average.copy_(average.lerp(latest, share) if average.is_floating_point() else latest)
        self.updates += 1
        self.history = [*self.history[-WINDOW:], list(self.policy.shares(space).values())]

    def restart(self, policy: Policy) -> None:
        """Forget the past: the policy was rolled back."""
        self.policy.load_state_dict(policy.state_dict())
        self.updates, self.history = 0, []

    def movement(self) -> float:
        """Largest movement of a strength, as a share of its bound, over the latest 100 updates; infinite before."""
        if len(self.history) <= WINDOW:
            return float("inf")
        lowest, highest = torch.tensor(self.history).aminmax(dim=0)
        return float((highest - lowest).max())

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        state: dict[str, Tensor] = self.policy.state_dict()
        return {"policy": state, "updates": self.updates, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.policy.load_state_dict(state["policy"])
        self.updates, self.history = state["updates"], state["history"]
