"""How a policy is learned: the settings of a `PolicyLearner`."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Corruption = Literal["none", "shuffled", "flipped", "identity_hessian", "wrong_domain"]
Estimator = Literal["score_function", "straight_through"]


@dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """How the policy is learned.

    Args:
        lr: Learning rate of Adam on the policy's parameters (logits of range / bound, or of probabilities);
            the weights of a network have a fiftieth of it.
        interval: Classifier steps from one policy update to the next; the cost falls in proportion.
        warmup: Classifier steps before the first policy update.
        until: Share of the run, in (0, 1], after which the policy stays at its average.
        refresh: Policy updates from one solve for S to the next; 0 solves once, as for a classifier that stays as it
            is.
        hessian_rows: Most recent augmented training samples that make up the Hessian.
        damping: Damping of the Hessian as a fraction of its mean eigenvalue, > 0. Less follows the influence set more
            closely and is noisier; more makes the policy less specific.
        tol: Relative residual at which the solve stops.
        max_iterations: Most Hessian products of one solve.
        clip: Bound on each sample's influence, in multiples of the batch's root mean square, > 0.
        radius: How far an augmented image may move in feature space before it costs: a multiple of the spread of the
            batch's features, their root mean square distance from their mean. None lets it move freely.
        identity: Weight of the mean squared change of a pixel, >= 0, against an influence of typical size 1.
        label: Weight of the cross-entropy of the augmented images, >= 0: holds what the classifier still recognises.
        budget: Largest root mean square change of a pixel over a batch, as a fraction of the full range, before
            strength costs; None for no budget. `policy/pixel_change` shows how much is in use.
        estimator: How a mixture is learned: `score_function` (unbiased, no backward pass) or `straight_through` (less
            variance, biased, needs the gradient of the images).
        kl: Weight of a mixture's divergence from its prior, >= 0; 0 lets it forget the prior up to its floor.
        sparsity: What each range costs for its share of its bound, >= 0, against an influence of typical size 1, so
            that one that brings nothing shrinks; 0 lets it drift. For `ranges`, `intervals` and `class_conditional`.
        probe: Share of its bound, in [0, 1), that the learner takes a narrower range to be as wide as, when it asks
            what the op would bring; the classifier trains on the range as it is. The gradient of a nearly closed range
            vanishes: without a probe an op that brings nothing while it is weak is never seen at work. What is best
            narrower than the probe closes, up to a hundredth of its bound. 0 for none. For the same.
        ema: Share of the past in the policy's moving average over its updates, in [0, 1). The average is what is
            saved; training draws from the latest. 0 saves the latest.
        freeze: The policy stays at its average, and costs nothing more, once no strength of the average has moved by
            more than this share of its bound in 100 updates; 0 never.
    """

    lr: float = 0.05
    interval: int = 10
    warmup: int = 30
    until: float = 1.0
    refresh: int = 2
    hessian_rows: int = 512
    damping: float = 0.1
    tol: float = 1e-2
    max_iterations: int = 100
    clip: float = 3.0
    radius: float | None = 1.0
    identity: float = 0.0
    label: float = 0.0
    budget: float | None = None
    estimator: Estimator = "score_function"
    kl: float = 0.02
    sparsity: float = 0.05
    probe: float = 0.0
    ema: float = 0.95
    freeze: float = 0.0

    def __post_init__(self) -> None:
        at_least: dict[int, tuple[str, ...]] = {
            0: ("warmup", "refresh", "kl", "sparsity", "identity", "label", "freeze"),
            1: ("interval", "hessian_rows", "max_iterations"),
        }
        for least, names in at_least.items():
            for name in names:
                if not least <= getattr(self, name) < math.inf:
                    raise ValueError(f"learner.{name} must be at least {least}, found {getattr(self, name)}.")
        for name in ("lr", "damping", "tol", "clip", "radius", "budget"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"learner.{name} must be a positive number, found {value}.")
        if not 0 < self.until <= 1:
            raise ValueError(f"learner.until is a share of the run in (0, 1], found {self.until}.")
        for name in ("probe", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"learner.{name} must lie in [0, 1), found {getattr(self, name)}.")
        if self.estimator not in get_args(Estimator):
            raise ValueError(
                f"learner.estimator must be one of {', '.join(get_args(Estimator))}, found {self.estimator!r}."
            )
