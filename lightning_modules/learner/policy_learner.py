"""One update of an augmentation policy by influence: the inner step of Lee, Park, Pham and Yoo, CVPR 2020.

    S = (H + damping)^-1 g        g: gradient of the influence set's loss in the last layer, H: Hessian of the
                                  training loss there, from the latest augmented batches
    J = mean_i c_i                c_i: the cost of an augmented image, see `lightning_modules.learner.objective`: its
                                  bounded influence I_i = -r_i^T S [h_i; 1] and the trust region; r_i: derivative
                                  of its loss in the logits, p_i - q_i for cross-entropy
    policy <- Adam step along -dJ/dpolicy

The gradient of J reaches the policy through the images, or, for a mixture, by the score function. The classifier is
frozen, in evaluation mode, and bit for bit the same afterwards; `S` is a constant. With `LearnerSettings.probe` the
influence, its costs and the rows of H are of images behind wider ranges than the classifier trains on. Departures from
the paper: docs/method.md, "Costs".
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from augnet import AugNet
from augnet.baselines import Baseline, MixingBaseline
from influence import Solution
from influence.losses import CrossEntropy, Loss
from lightning_modules.learner.augmented_batch import AugmentedBatch, BatchAugmenter
from lightning_modules.learner.feature_capture import FeatureCapture, frozen
from lightning_modules.learner.guard import Guard, GuardSettings, Health, highest_retention
from lightning_modules.learner.last_layer_influence import LastLayerInfluence
from lightning_modules.learner.objective import (
    backward_through_images,
    bounded,
    exceeding,
    feature_move,
    feature_spread,
    score_function,
)
from lightning_modules.learner.policy_average import WINDOW, PolicyAverage
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.settings import InfluenceControl, LearnerSettings

_CHECKS = 10  # updates from one check of the guard to the next, where S is not refreshed
_UNCHANGED = "The policy was left as it is"
_NEARLY_CLOSED = 0.01  # share of its bound
_NETWORK_SHARE = 0.02  # of the learning rate, for the weights of a network


@dataclass(frozen=True)
class PolicyUpdate:
    """The numbers of one update.

    Attributes:
        influence: Influence of each augmented image of all ranks on the loss of the influence set, `[B]`; negative
            helps.
        retention: Accuracy on the augmented images / accuracy on the originals.
        influence_loss: Mean loss on the influence set when S was last solved for.
        solution: The solve in use; one of no iterations if the classifier diverged before the first.
        pixel_change: Root mean square change of a pixel, as a fraction of the full range.
        feature_move: Mean move in feature space, in multiples of the spread of the features; NaN where it was not
            measured.
        event: A roll-back, a step that was not taken, or the end of learning, in a sentence for people; None after an
            ordinary step.
        rollbacks: Number of roll-backs by the guard so far.
    """

    influence: Tensor
    retention: float
    influence_loss: float
    solution: Solution
    pixel_change: float = math.nan
    feature_move: float = math.nan
    event: str | None = None
    rollbacks: int = 0


class PolicyLearner:
    """Learns a policy against a classifier, one `update` at a time.

    Args:
        augnet: The policy to learn. Its parameters need no gradient outside an update.
        capture: The classifier with its head; images in [0, 1] in, logits out.
        influence_set: Images `[M, C, H, W]` in [0, 1] and labels `[M]` that look like deployment; may be replaced
            between updates.
        settings: See `LearnerSettings`.
        base: A fixed policy in front of the learned one, called as `base(images, generator=...)`; None for none.
        loss: The training loss, which the influence follows; the influence set is judged without its label smoothing.
        control: `none` is the method; the others spoil the influence on purpose. `wrong_domain` says that the influence
            set is another one than it should be.
        guard: When the policy is rolled back to its last healthy state. A control is rolled back only if its numbers
            are not finite.
        ranks: Among which the batches are divided; each calls `update` with its part at the same time.
        forward_context: Context of every classifier pass, for instance autocast.
        seed: Seed of the learner's own draws, kept apart from those of the training.

    Raises:
        ValueError: If the control is unknown.
    """

    def __init__(
        self,
        augnet: AugNet[Any, Any],
        capture: FeatureCapture,
        influence_set: tuple[Tensor, Tensor],
        settings: LearnerSettings,
        base: Baseline | MixingBaseline | None = None,
        control: InfluenceControl = "none",
        loss: Loss = CrossEntropy(),  # noqa: B008 - frozen
        guard: GuardSettings = GuardSettings(),  # noqa: B008 - frozen
        ranks: Ranks | None = None,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        seed: int = 0,
    ) -> None:
        if control not in get_args(InfluenceControl):
            raise ValueError(f"expected control one of {get_args(InfluenceControl)}, found {control!r}")
        self.augnet, self.capture, self.settings = augnet, capture, settings
        self.ranks = ranks or Ranks()
        self.control = control
        curvature = control != "identity_hessian"
        self.influence = LastLayerInfluence(
            capture, influence_set, settings, curvature, self.ranks, forward_context, loss
        )
        self._keep_open()
        self.optimizer = torch.optim.Adam(_parameter_groups(augnet, settings.lr))
        self.guard = Guard(augnet.policy, guard)
        self.average = PolicyAverage(augnet.policy, settings.ema)
        self.generator = torch.Generator().manual_seed(seed)
        self.augmenter = BatchAugmenter(augnet, base, self.influence, settings, self.ranks, self.generator)
        self.updates, self.finished = 0, False
        self.retention = self.highest_retention = 1.0
        self.saturated_at_start = augnet.policy.saturated(augnet.space)

    def due(self, step: int) -> bool:
        """Return True if an update follows the classifier's step number `step` (the first is 1)."""
        return not self.stopped and step > self.settings.warmup and step % self.settings.interval == 0

    @property
    def stopped(self) -> bool:
        """True once the policy is not learned any further: it has finished, or the guard has given it up."""
        return self.finished or self.guard.gave_up

    @property
    def result(self) -> AugNet[Any, Any]:
        """The learned policy, for files and people: the average over the updates."""
        return AugNet(self.augnet.space, self.average.policy)

    def finish(self) -> None:
        """Put the policy at its average; no update is due from now on."""
        self.augnet.policy.load_state_dict(self.average.policy.state_dict())
        self.finished = True

    def update(self, images: Tensor, labels: Tensor) -> PolicyUpdate:
        """Move the policy once; its numbers are the same on all ranks, and detached.

        Args:
            images: A training batch `[B, C, H, W]` in [0, 1], not augmented; this rank's part of it.
            labels: `[B]`.
        """
        checks = self.updates % (self.settings.refresh or _CHECKS) == 0
        solves = not self.influence.solved or (self.settings.refresh > 0 and checks)
        with frozen(self.capture.model), _learning(self.augnet):
            gradient = self.influence.gradient() if solves else None  # first: it needs the memory of the passes below
            batch, inputs = self.augmenter.augment_and_classify(images, labels, checks)
            influence = self._measure_influence(batch, gradient, solves)
            event, move = self._check(batch, influence is not None, checks), math.nan
            if influence is not None and event is None and not self.guard.gave_up:
                costs, move = self._costs(influence, batch)
                event = self._step(influence, costs, batch, inputs)
        self.updates += 1
        return PolicyUpdate(
            influence=torch.full((len(batch.features),), math.nan) if influence is None else influence.detach(),
            retention=self.retention,
            influence_loss=self.influence.held_out_loss,
            solution=self.influence.solution,
            pixel_change=float(batch.pixel_change.mean().sqrt()),
            feature_move=move,
            event=event,
            rollbacks=self.guard.rollbacks,
        )

    def _measure_influence(self, batch: AugmentedBatch, gradient: Tensor | None, solves: bool) -> Tensor | None:
        """Solve for S if it is time, and return the influence `[B]` of augmented images; None if it is not finite."""
        if not batch.finite:
            return None
        if self.settings.refresh or not self.influence.solved:
            self.influence.bank.add(batch.features, batch.logits, batch.targets)
        if solves and gradient is None:
            return None
        if gradient is not None:
            self.influence.solve(gradient)
        logits, targets = batch.logits, batch.targets
        if self.control == "shuffled":  # the features of each image with the error of another
            order = torch.randperm(len(targets), generator=self.generator).to(targets.device)
            logits, targets = logits[order], targets[order]
        influence = self.influence.of(batch.features, logits, targets)
        return influence if bool(influence.isfinite().all()) else None

    def _measure_retention(self, batch: AugmentedBatch) -> None:
        """Compare the accuracy on augmented images with that on the originals."""
        outputs = cast(Tensor, batch.original_logits), cast(Tensor, batch.trained_logits)
        on_originals, on_augmented = (int(self.influence.loss.right(part, batch.targets).sum()) for part in outputs)
        self.retention = on_augmented / max(on_originals, 1)
        self.highest_retention = highest_retention(on_augmented, on_originals)

    def _costs(self, influence: Tensor, batch: AugmentedBatch) -> tuple[Tensor, float]:
        """The cost of each image `[B]`, and the mean move in feature space."""
        size = influence.detach().square().mean().sqrt().clamp(min=torch.finfo(influence.dtype).tiny)
        sign = -1 if self.control == "flipped" else 1
        costs = sign * bounded(influence, size, self.settings.clip)
        if self.settings.radius is None or batch.original_features is None:
            return costs, math.nan
        spread = feature_spread(batch.original_features)
        moves = feature_move(batch.original_features, batch.features, spread)
        return costs + exceeding(moves, self.settings.radius), float(moves.detach().mean())

    def _step(self, influence: Tensor, costs: Tensor, batch: AugmentedBatch, inputs: list[Tensor]) -> str | None:
        """Move the policy against the gradient of the costs, through the images or from a mixture's choices.

        Returns why the policy was left as it is, or that it has settled, for people; None after an ordinary step.
        """
        residual = 0.0 if self.control == "identity_hessian" else self.influence.solution.relative_residual
        if not (residual < 1 and influence.any()):
            return f"{_UNCHANGED}: there is no influence to learn from (are all images predicted with certainty?)."
        self.optimizer.zero_grad()
        if batch.choices is None:
            backward_through_images(costs, batch.logits.dtype, inputs)
            self.ranks.add_up(*self._gradients())
        else:
            score_function(self.augnet.policy.log_prob(batch.choices), costs).backward()
        cost = self.augnet.policy.cost(self.settings.kl, self.settings.sparsity)
        if cost is not None:
            cost.backward()
        finite = all(bool(gradient.isfinite().all()) for gradient in self._gradients())
        if finite:
            self.optimizer.step()
            self._keep_open()
        buffers = [buffer for buffer in self.augnet.buffers() if buffer.is_floating_point()]
        self.ranks.average(*buffers)  # statistics of a policy's latest batches, for `describe`
        self.average.update(self.augnet.policy, self.augnet.space)
        return self._settle() if finite else f"{_UNCHANGED}: its gradient is not finite."

    def _check(self, batch: AugmentedBatch, finite: bool, checks: bool) -> str | None:
        """Let the guard check the policy, if it is time or the classifier has diverged.

        Returns the roll-back, for people, after which Adam and the average start anew; None if there was none.
        """
        if finite and checks:
            self._measure_retention(batch)
        if self.guard.gave_up or (finite and not checks):
            return None
        saturated, residual, retention = 0.0, 0.0, 1.0
        if self.control == "none":
            saturated = self.augnet.policy.saturated(self.augnet.space)
            residual = self.influence.solution.relative_residual if self.influence.solved else 0.0
            retention = self.highest_retention
        if saturated <= self.saturated_at_start:
            saturated = 0.0
        event = self.guard.check(Health(retention, saturated, residual, finite))
        if event is not None:
            self.optimizer.state.clear()
            self.average.restart(self.augnet.policy)
        return event

    def _keep_open(self) -> None:
        """Keep narrow ranges that are probed wide enough to open again."""
        self.augnet.policy.clamp_half_widths(min(_NEARLY_CLOSED, self.settings.probe))

    def _settle(self) -> str | None:
        """Finish if the average has stopped moving."""
        if self.average.movement() > self.settings.freeze or self.settings.freeze == 0:
            return None
        self.finish()
        moved = f"in {WINDOW} updates no strength moved by more than {self.settings.freeze:.3g} of its bound"
        return f"The policy has settled ({moved}) and stays at its average from now on."

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.augnet.parameters() if parameter.grad is not None]

    def solve_once(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Solution:
        """Solve for S from unaugmented training images, for a fixed classifier; ValueError if it has diverged.

        Of this rank's part of the batches, images in [0, 1] and labels, the newest `hessian_rows` rows count.
        """
        with frozen(self.capture.model), torch.no_grad():
            for images, labels in batches:
                originals, targets = self.augmenter.apply_base(images, labels)
                rows = (*self.influence.features_and_logits(originals), targets)
                self.influence.bank.add(*(self.ranks.gather(part) for part in rows))
            gradient = self.influence.gradient()
            if gradient is None:
                raise ValueError(
                    f"the loss on the influence set is {self.influence.held_out_loss}: the classifier diverged."
                )
            self.influence.solve(gradient)
        return self.influence.solution

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs; tensors and numbers only."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {**parts, "generator": self.generator.get_state(), **numbers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned; the settings, the learning rate too, stay as they are."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.generator.set_state(state["generator"].cpu())
        for name in _NUMBERS:
            setattr(self, name, state[name])


_PARTS = ("optimizer", "guard", "average", "influence")
_NUMBERS = ("updates", "finished", "retention", "highest_retention", "saturated_at_start")


@contextmanager
def _learning(policy: nn.Module) -> Iterator[None]:
    """Training mode and gradients for all parameters inside; afterwards the former mode and no gradients."""
    training = policy.training
    policy.train().requires_grad_(True)
    try:
        yield
    finally:
        policy.train(training).requires_grad_(False)


def _parameter_groups(augnet: AugNet[Any, Any], lr: float) -> list[dict[str, Any]]:
    """Logits with the learning rate, the weights of a network with a small share of it."""
    weights = augnet.policy.network_weights()
    slow = {id(weight) for weight in weights}
    logits = [parameter for parameter in augnet.parameters() if id(parameter) not in slow]
    groups = [{"params": logits, "lr": lr}, {"params": weights, "lr": _NETWORK_SHARE * lr}]
    return [group for group in groups if group["params"]]
