"""The settings of a `PolicyLearner`."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lightning_modules.learner.checks import check_numbers

InfluenceControl = Literal["none", "shuffled", "flipped", "identity_hessian", "wrong_domain"]


@dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """Settings of the learning of a policy.

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
    kl: float = 0.02
    sparsity: float = 0.05
    probe: float = 0.0
    ema: float = 0.95
    freeze: float = 0.0

    def __post_init__(self) -> None:
        check_numbers("learner.", "(0, 10]", lr=self.lr)
        check_numbers("learner.", "(0, 1]", until=self.until)
        check_numbers("learner.", "(0, 1)", tol=self.tol)
        check_numbers("learner.", "[0, 1)", probe=self.probe, ema=self.ema)
        check_numbers("learner.", "[0, 1]", freeze=self.freeze)
        check_numbers("learner.", "[0, 1000]", kl=self.kl, sparsity=self.sparsity)
        check_numbers("learner.", "(0, 1000]", damping=self.damping)
        check_numbers("learner.", "(0, 1000] or null", radius=self.radius)
        check_numbers("learner.", "(0, 1e9]", clip=self.clip)
        check_numbers("learner.", "[0, 1000000]", warmup=self.warmup, refresh=self.refresh)
        counts = {"interval": self.interval, "hessian_rows": self.hessian_rows, "max_iterations": self.max_iterations}
        check_numbers("learner.", "[1, 1000000]", **counts)


_REMOVED = {"identity": 0.0, "label": 0.0, "budget": None, "estimator": "score_function"}  # and their defaults in 0.1.0


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those removed after 0.1.0; ValueError if one of those is not at its default."""
    removed = {name: value for name, value in values.items() if name in _REMOVED}
    for name, value in removed.items():
        if value != _REMOVED[name]:
            raise ValueError(f"learner.{name} was removed after version 0.1.0, found {value!r}: leave it out.")
    if removed:
        warnings.warn(
            f"learner.{', learner.'.join(removed)} were removed after version 0.1.0 and had no effect here: leave them "
            "out.",
            DeprecationWarning,
            stacklevel=2,
        )
    return {name: value for name, value in values.items() if name not in removed}
