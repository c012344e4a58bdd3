"""Learning of an augmentation policy in anybody's training loop: torch, augnet and influence, no Lightning."""

from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate
from lightning_modules.learner.settings import LearnerSettings

__all__ = ["GuardSettings", "LearnerSettings", "PolicyLearner", "PolicyUpdate"]
