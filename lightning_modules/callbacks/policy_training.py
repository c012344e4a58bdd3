"""A learner inside a Lightning training: built when the device is known, stepped between the classifier's steps."""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from augnet import AugNet
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.guard import Guard, GuardSettings
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.monitoring.alerts import announce


class PolicyTraining:
    """What the module and the callback share: when the policy is updated, what is logged and what is saved.

    Args:
        augnet: The policy.
        settings: How it is learned.
        guard: When it is rolled back.
    """

    def __init__(self, augnet: AugNet[Any, Any], settings: LearnerSettings, guard: GuardSettings) -> None:
        self.augnet, self.settings, self.guard = augnet, settings, guard
        self.ranks = Ranks()
        self.learner: PolicyLearner | None = None
        self.last_update: PolicyUpdate | None = None
        self._resumed: dict[str, Any] | None = None
        self._latest_step = 0
        self._last_step = math.inf

    def begin(
        self, trainer: pl.Trainer, capture: FeatureCapture, influence_set: tuple[Tensor, Tensor], **others: Any
    ) -> None:
        """Build the learner, and give it what a resumed run had.

        Args:
            trainer: Knows the ranks and the precision.
            capture: The classifier with its head.
            influence_set: Images in [0, 1] and labels, on the device.
            **others: Further arguments of `PolicyLearner`.
        """
        self.ranks = Ranks.everyone(trainer.world_size)
        self.learner = PolicyLearner(
            self.augnet,
            capture,
            influence_set,
            self.settings,
            guard=self.guard,
            ranks=self.ranks,
            forward_context=trainer.precision_plugin.forward_context,
            seed=torch.initial_seed() % 2**63,
            **others,
        )
        if self._resumed is not None:
            self.learner.load_state_dict(self._resumed)
            self._resumed = None

    def start(self, trainer: pl.Trainer) -> None:
        """Steps of a resumed run count from where it goes on.

        Raises:
            ValueError: If learning is to end at a share of a run whose length is not known.
        """
        self._latest_step = trainer.global_step
        if self.settings.until < 1:
            self._last_step = self.settings.until * trainer.estimated_stepping_batches
            if math.isinf(self._last_step):
                raise ValueError(
                    f"learner.until={self.settings.until} is a share of the run, whose length is not known: set "
                    "trainer.max_epochs or trainer.max_steps."
                )

    def after_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Callable[[], tuple[Tensor, Tensor]]
    ) -> None:
        """If one is due, update the policy, log what it saw, and say what was done to it.

        Args:
            trainer: Counts the steps; nothing is done while gradients of several batches are accumulated.
            module: Logs.
            batch: Gives the images `[B, C, H, W]` in [0, 1] that were just trained on, not augmented, and their labels
                `[B]`.
        """
        stepped, self._latest_step = trainer.global_step != self._latest_step, trainer.global_step
        if self.learner is None or not stepped or not _is_training(trainer):
            return
        if self.learner.due(trainer.global_step):
            module.log_dict(self.record(trainer, self.learner.update(*batch())))
        if trainer.global_step >= self._last_step and not self.learner.finished:
            self.learner.finish()

    def record(self, trainer: pl.Trainer, update: PolicyUpdate) -> dict[str, Tensor | float]:
        """Keep an update as the latest one, and announce what the guard did.

        Returns:
            What is to be logged of it.
        """
        if self.learner is None:
            raise RuntimeError("no update without a learner: begin first")
        self.last_update, guard = update, self.learner.guard
        if update.event is not None:
            announce(update.event, guard.gave_up, trainer.loggers)
        return update_metrics(update, self.result, guard)

    @property
    def result(self) -> AugNet[Any, Any]:
        """What has been learned: the average over the updates, or the policy as it is where nothing is learned."""
        if self.learner is not None:
            return self.learner.result
        if self._resumed is None:
            return self.augnet
        average = deepcopy(self.augnet.policy)
        average.load_state_dict(self._resumed["average"]["policy"])
        return AugNet(self.augnet.space, average)

    def state_dict(self) -> dict[str, Any] | None:
        """Everything a resumed run needs; None before training."""
        return None if self.learner is None else self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Keep what `state_dict` returned until the learner is built."""
        self._resumed = state


def _is_training(trainer: pl.Trainer) -> bool:
    """Whether steps change the classifier; they do not in the pass in which SWA measures its batch statistics."""
    return not getattr(trainer.fit_loop, "_skip_backward", False)


def update_metrics(update: PolicyUpdate, augnet: AugNet[Any, Any], guard: Guard) -> dict[str, Tensor | float]:
    """Keys and values, for `log_dict`; `lightning_modules.monitoring.metric_keys` says what they mean.

    Args:
        update: What the update saw.
        augnet: What has been learned so far.
        guard: As it is after the update.
    """
    described, logged = augnet.describe(), augnet.policy.logged
    seen = {} if math.isnan(update.feature_move) else {"policy/feature_move": update.feature_move}
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
        **seen,
        **{f"{logged[fact]}/{op}": facts[fact] for op, facts in described.items() for fact in logged},
    }
