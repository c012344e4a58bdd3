"""One influence update of an augmentation policy: the inner step of Lee, Park, Pham and Yoo, CVPR 2020.

    S = (H + damping)^-1 g        g: gradient of the influence set's loss in the last layer, H: Hessian of the
                                  training loss there, from the latest augmented batches
    J = mean_i c_i                c_i: the bounded influence I_i = -(p_i - q_i)^T S [h_i; 1] of an augmented image, and
                                  what holds the policy near the originals: see `lightning_modules.learner.costs`
                                  (there too what the policy itself costs, which J has in addition)
    policy <- Adam step along -dJ/dpolicy

The gradient of J reaches the policy through the images, or, for a mixture, by the score function: what each image cost
is what its draw cost, and no backward pass is needed.

The classifier is frozen, in evaluation mode, and bit for bit the same afterwards; `S` is a constant. Departures from
the paper: classifier and policy are trained together, not one after the other (`staged` does that);
each influence is bounded (it has no lower bound of its own and rewards destroyed labels otherwise), and divided by the
influences' size, so that the learning rate means the same early and late in training; with `LearnerSettings.probe` the
influence, its costs and the rows of H are of images behind wider ranges than the classifier trains on.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast, get_args

import torch
from torch import Tensor

from augnet import AugNet, MixturePolicy
from augnet.baselines import Baseline, MixingBaseline
from influence import Solution
from lightning_modules.learner.batch_views import BatchViews, Seen
from lightning_modules.learner.costs import (
    beyond,
    bounded,
    feature_move,
    feature_spread,
    label_costs,
    pixel_change,
    policy_cost,
    strength_costs,
)
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.frozen import frozen, learning
from lightning_modules.learner.guard import Guard, GuardSettings, Health, highest_retention
from lightning_modules.learner.half_gradients import gradients_through
from lightning_modules.learner.last_layer_influence import LastLayerInfluence
from lightning_modules.learner.policy_average import WINDOW, PolicyAverage
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.score_function import score_function
from lightning_modules.learner.settings import Corruption, LearnerSettings
from lightning_modules.learner.targets import as_classes, smoothed

_CHECKS = 10  # updates from one look of the guard to the next, where S is not refreshed
_LEFT = "The policy was left as it is"
_NEARLY_CLOSED = 0.01  # share of its bound
_NETWORK_SHARE = 0.02  # of the learning rate, for the weights of a network


@dataclass(frozen=True)
class PolicyUpdate:
    """What one update saw.

    Attributes:
        influence: Influence of each augmented image on the loss of the influence set, `[B]`; negative helps.
        retention: Accuracy on the augmented images / accuracy on the originals.
        influence_loss: Mean loss on the influence set when S was last solved for.
        solution: The solve in use; one of no iterations if the classifier diverged before the first.
        pixel_change: Root mean square change of a pixel, as a fraction of the full range.
        feature_move: Mean move in feature space, in multiples of the spread of the features; NaN where it was not
            looked at.
        event: What was done to the policy and why, for people; None if nothing but a step.
        rollbacks: How often the guard has rolled it back so far.
    """

    influence: Tensor
    retention: float
    influence_loss: float
    solution: Solution
    pixel_change: float = math.nan
    feature_move: float = math.nan
    event: str | None = None
    rollbacks: int = 0


def check_estimator(augnet: AugNet[Any, Any], settings: LearnerSettings) -> None:
    """Raise ValueError if a mixture is to be learned through images that have no gradient."""
    through_images = isinstance(augnet.policy, MixturePolicy) and settings.estimator == "straight_through"
    if through_images and augnet.space.interpolation == "nearest":
        raise ValueError(
            "learner.estimator straight_through needs the gradient of the images, and nearest-pixel resampling, as "
            "TrivialAugment's, has none for the spatial ops: take score_function."
        )


class PolicyLearner:
    """Holds what the influence update needs, and nothing else does: the second path of the training step.

    Args:
        augnet: The policy to learn. Its parameters need no gradient outside an update.
        capture: The classifier with its head; images in [0, 1] in, logits out.
        influence_set: Images `[M, C, H, W]` in [0, 1] and labels `[M]` that look like deployment; may be replaced
            between updates.
        settings: See `LearnerSettings`.
        base: A fixed policy in front of the learned one, called as `base(images, generator=...)`; None for none.
        label_smoothing: That of the training loss, which the influence of a training sample follows; the influence set
            keeps its hard labels.
        corruption: A control that spoils the influence on purpose; "none" is the method. "wrong_domain" says that the
            influence set is another one than it should be.
        guard: When the policy is rolled back to its last healthy state; controls are left to their fate, as long as
            their numbers are finite.
        ranks: Among which the batches are divided; each calls `update` with its part at the same time.
        forward_context: Context of every classifier pass, for instance autocast.
        seed: Seed of the learner's own draws, kept apart from those of the training.
    """

    def __init__(
        self,
        augnet: AugNet[Any, Any],
        capture: FeatureCapture,
        influence_set: tuple[Tensor, Tensor],
        settings: LearnerSettings,
        base: Baseline | MixingBaseline | None = None,
        corruption: Corruption = "none",
        label_smoothing: float = 0.0,
        guard: GuardSettings = GuardSettings(),  # noqa: B008 - frozen
        ranks: Ranks | None = None,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        seed: int = 0,
    ) -> None:
        if corruption not in get_args(Corruption):
            raise ValueError(f"expected corruption one of {get_args(Corruption)}, found {corruption!r}")
        self.augnet, self.capture, self.settings = augnet, capture, settings
        check_estimator(augnet, settings)
        self.ranks = ranks or Ranks()
        self.corruption, self.label_smoothing = corruption, label_smoothing
        curvature = corruption != "identity_hessian"
        self.influence = LastLayerInfluence(capture, influence_set, settings, curvature, self.ranks, forward_context)
        self._hold_open()
        self.optimizer = torch.optim.Adam(_parameter_groups(augnet, settings.lr))
        self.guard = Guard(augnet.policy, guard)
        self.average = PolicyAverage(augnet.policy, settings.ema)
        self.generator = torch.Generator().manual_seed(seed)
        self.views = BatchViews(augnet, base, self.influence, settings, self.ranks, self.generator)
        self.updates, self.finished = 0, False
        self.retention = self.highest_retention = 1.0
        self.saturated_at_start = augnet.policy.saturated(augnet.space)

    def due(self, step: int) -> bool:
        """Whether an update follows the classifier's step number `step` (the first is 1)."""
        return not self.finished and step > self.settings.warmup and step % self.settings.interval == 0

    @property
    def result(self) -> AugNet[Any, Any]:
        """What has been learned so far, for files and people: the average over the updates."""
        return AugNet(self.augnet.space, self.average.policy)

    def finish(self) -> None:
        """Put the policy at its average; no update is due from now on."""
        self.augnet.policy.load_state_dict(self.average.policy.state_dict())
        self.finished = True

    def prime(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Solution:
        """Solve for S once, from unaugmented training images: for a classifier that stays as it is.

        Args:
            batches: Training batches, images `[B, C, H, W]` in [0, 1] and labels `[B]`; this rank's part of each. The
                newest `hessian_rows` rows of them count.

        Raises:
            ValueError: If the classifier's features or loss are not finite.
        """
        with frozen(self.capture.model), torch.no_grad():
            for images, labels in batches:
                originals, targets = self.views.based(images, labels)
                rows = (*self.influence.look(originals), targets)
                self.influence.bank.add(*(self.ranks.gather(part) for part in rows))
            gradient = self.influence.gradient()
            if gradient is None:
                raise ValueError(f"the loss on the influence set is {self.influence.loss}: the classifier diverged.")
            self.influence.solve(gradient)
        return self.influence.latest

    def update(self, images: Tensor, labels: Tensor) -> PolicyUpdate:
        """Move the policy once.

        Args:
            images: A training batch `[B, C, H, W]` in [0, 1], not augmented; this rank's part of it.
            labels: `[B]`.

        Returns:
            What the update saw; detached.
        """
        every = self.settings.refresh
        checks = self.updates % (every or _CHECKS) == 0
        solves = self.influence.solution is None or (every > 0 and checks)
        with frozen(self.capture.model), learning(self.augnet):
            gradient = self.influence.gradient() if solves else None  # first: it needs the memory of the passes below
            seen = self.views.see(images, labels, checks)
            everyone = [self.ranks.gather(part) for part in (seen.features, seen.logits, seen.targets)]
            finite = bool(everyone[0].isfinite().all() & everyone[1].isfinite().all())
            if finite and (every or self.influence.solution is None):
                self.influence.bank.add(*everyone)
            if finite and solves:
                finite = gradient is not None
            if finite and gradient is not None:
                self.influence.solve(gradient)
            if finite:
                influence = self._influence_of(seen)
                finite = bool(self.ranks.gather(influence).isfinite().all())
            else:  # the classifier has diverged: nothing can be learned from it
                influence = seen.features.new_full((len(labels),), math.nan, dtype=torch.float32)
            if finite and seen.trained_logits is not None:
                self._measure_retention(seen, seen.trained_logits)
            event = self._check(finite) if checks or not finite else None
            change = self._mean(pixel_change(seen.originals, seen.trained))
            move = math.nan
            if finite and event is None and not self.guard.gave_up:
                move, event = self._step(influence, seen, change)
        self.updates += 1
        return PolicyUpdate(
            influence=influence.detach(),
            retention=self.retention,
            influence_loss=self.influence.loss,
            solution=self.influence.latest,
            pixel_change=float(change.sqrt()),
            feature_move=move,
            event=event,
            rollbacks=self.guard.rollbacks,
        )

    def _influence_of(self, seen: Seen) -> Tensor:
        """Influence of each augmented image `[B]`, or what a control makes of it."""
        features, logits = seen.features, seen.logits
        targets = smoothed(seen.targets, logits, self.label_smoothing)
        if self.corruption == "shuffled":  # each image answers for the error of another of the same rank
            order = torch.randperm(len(targets), generator=self.generator).to(targets.device)
            logits, targets = logits[order], targets[order]
        return self.influence.of(features, logits, targets)

    def _measure_retention(self, seen: Seen, trained_logits: Tensor) -> None:
        """Accuracy on augmented images against that on the originals, over all ranks."""
        labels = as_classes(seen.targets)
        originals = seen.logits if seen.original is None else seen.original[1]
        hits = [_hits(originals, labels), _hits(trained_logits, labels)]
        self.ranks.add_up(*hits)
        on_originals, on_augmented = int(hits[0]), int(hits[1])
        self.retention = on_augmented / max(on_originals, 1)
        self.highest_retention = highest_retention(on_augmented, on_originals)

    def _check(self, finite: bool) -> str | None:
        """Show the guard how the policy is; after a roll-back Adam and the average start anew."""
        if self.guard.gave_up:
            return None
        saturated, residual, retention = 0.0, 0.0, 1.0
        if self.corruption == "none":
            saturated = self.augnet.policy.saturated(self.augnet.space)
            residual = 0.0 if self.influence.solution is None else self.influence.solution.relative_residual
            retention = self.highest_retention
        if saturated <= self.saturated_at_start:
            saturated = 0.0
        event = self.guard.check(Health(retention, saturated, residual, finite))
        if event is not None:
            self.optimizer.state.clear()
            self.average.restart(self.augnet.policy)
        return event

    def _costs(self, influence: Tensor, seen: Seen, change: Tensor) -> tuple[Tensor, float]:
        """What each image costs `[B]`, and the mean move in feature space; see `lightning_modules.learner.costs`."""
        size = self._mean(influence.square()).sqrt().clamp(min=torch.finfo(influence.dtype).tiny)
        sign = -1 if self.corruption == "flipped" else 1
        costs, move = sign * bounded(influence, size, self.settings.clip), math.nan
        if self.settings.radius is not None and seen.original is not None:
            spread = feature_spread(self.ranks.gather(seen.original[0]))
            moves = feature_move(seen.original[0], seen.features, spread)
            costs, move = costs + beyond(moves, self.settings.radius), float(self._mean(moves))
        if self.settings.identity or self.settings.budget is not None:
            costs = costs + strength_costs(pixel_change(seen.originals, seen.augmented), change, self.settings)
        if self.settings.label:
            costs = costs + label_costs(seen.logits, seen.targets, self.settings.label)
        return costs, move

    def _step(self, influence: Tensor, seen: Seen, change: Tensor) -> tuple[float, str | None]:
        """Move the policy against the gradient of the costs, through the images or from the choices.

        Returns:
            The mean move in feature space; why the policy was left as it is, or that it has settled, for people.
        """
        residual = 0.0 if self.corruption == "identity_hessian" else self.influence.latest.relative_residual
        if not (residual < 1 and self.ranks.gather(influence).any()):
            return math.nan, f"{_LEFT}: there is no influence to learn from (are all images predicted with certainty?)."
        costs, move = self._costs(influence, seen, change)
        self.optimizer.zero_grad()
        if seen.choices is None:
            learned = [part for part in (seen.augmented, seen.targets) if part.requires_grad]  # targets if mixed
            mean = costs.mean() / self.ranks.count
            count = self.ranks.count * len(costs)
            torch.autograd.backward(learned, gradients_through(seen.logits.dtype, mean, count, learned))
            self.ranks.add_up(*self._gradients())
        else:
            chosen = cast(MixturePolicy, self.augnet.policy).log_prob(self.ranks.gather(seen.choices))
            score_function(chosen, self.ranks.gather(costs)).backward()
        cost = policy_cost(self.augnet.policy, self.settings)
        if cost is not None:
            cost.backward()
        finite = all(bool(gradient.isfinite().all()) for gradient in self._gradients())
        if finite:
            self.optimizer.step()
            self._hold_open()
        buffers = [buffer for buffer in self.augnet.buffers() if buffer.is_floating_point()]
        self.ranks.average(*buffers)  # what a policy keeps of its latest batches, for `describe`
        self.average.update(self.augnet.policy, self.augnet.space)
        return move, self._settle() if finite else f"{_LEFT}: its gradient is not finite."

    def _hold_open(self) -> None:
        """Where narrow ranges are probed they should be able to open again."""
        self.augnet.policy.hold_open(min(_NEARLY_CLOSED, self.settings.probe))

    def _settle(self) -> str | None:
        """Finish if the average has stopped moving."""
        if self.average.movement() > self.settings.freeze or self.settings.freeze == 0:
            return None
        self.finish()
        moved = f"in {WINDOW} updates no strength moved by more than {self.settings.freeze:.3g} of its bound"
        return f"The policy has settled ({moved}) and stays at its average from now on."

    def _mean(self, rows: Tensor) -> Tensor:
        """Mean of a number for each image `[B]` over all ranks; without gradient."""
        return self.ranks.gather(rows).mean()

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.augnet.parameters() if parameter.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs; tensors and numbers only."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {**parts, "generator": self.generator.get_state(), **numbers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"].cpu())
        for name in _NUMBERS:
            setattr(self, name, state[name])


_PARTS = ("optimizer", "guard", "average", "influence")
_NUMBERS = ("updates", "finished", "retention", "highest_retention", "saturated_at_start")


def _parameter_groups(augnet: AugNet[Any, Any], lr: float) -> list[dict[str, Any]]:
    """Logits with the learning rate, the weights of a network with a small share of it."""
    weights = augnet.policy.network_weights()
    slow = {id(weight) for weight in weights}
    logits = [parameter for parameter in augnet.parameters() if id(parameter) not in slow]
    groups = [{"params": logits, "lr": lr}, {"params": weights, "lr": _NETWORK_SHARE * lr}]
    return [group for group in groups if group["params"]]


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many predictions are right."""
    return (logits.argmax(dim=1) == labels).sum()
