"""One influence update of an augmentation policy: the inner step of Lee, Park, Pham and Yoo, CVPR 2020.

    S = (H + damping)^-1 g        g: gradient of the influence set's loss in the last layer, H: Hessian of the
                                  training loss there, from the latest augmented batches
    J = mean_i bounded(I_i) / rms(I),   I_i = -(p_i - q_i)^T S [h_i; 1]  at the augmented images
    policy <- Adam step along -dJ/dpolicy

The gradient of J reaches the policy through the images, or, for a mixture, by the score function: the bounded influence
of each image is what its draw cost, and no backward pass is needed.

The classifier is frozen, in evaluation mode, and bit for bit the same afterwards; `S` is a constant. Departures from
the paper: classifier and policy are trained together, not one after the other; each influence is bounded (it has no
lower bound of its own and rewards destroyed labels otherwise), and `J` is divided by the influences' size, so that the
learning rate means the same early and late in training.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from augnet import AugNet, MixturePolicy
from augnet.baselines import Baseline, MixingBaseline
from augnet.batch import Batch
from influence import FeatureBank, LastLayerHessian, Solution, loss_gradient, solve, upweight_influence
from lightning_modules.feature_capture import FeatureCapture
from lightning_modules.frozen import frozen
from lightning_modules.guard import Guard, GuardSettings, Health, highest_retention
from lightning_modules.half_gradients import gradients_through
from lightning_modules.ranks import Ranks, draw
from lightning_modules.score_function import score_function
from lightning_modules.targets import as_classes, as_probabilities, behind, smoothed

_CHUNK = 512  # images of the influence set in one pass of the network
_UNSOLVED = Solution(torch.zeros(0), math.nan, 0, "none", False)
_LEFT = "The policy was left as it is"
_NETWORK_SHARE = 0.02  # of the learning rate, for the weights of a network

Corruption = Literal["none", "shuffled", "flipped", "identity_hessian"]
Estimator = Literal["score_function", "straight_through"]


@dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """How the policy is learned.

    Args:
        lr: Learning rate of Adam on the policy's parameters (logits of range / bound, or of probabilities);
            the weights of a network have a fiftieth of it.
        interval: Classifier steps from one policy update to the next; the cost falls in proportion.
        warmup: Classifier steps before the first policy update.
        refresh: Policy updates from one solve for S to the next.
        hessian_rows: Most recent augmented training samples that make up the Hessian.
        damping: Damping of the Hessian as a fraction of its mean eigenvalue, > 0. Less follows the influence set more
            closely and is noisier; more makes the policy less specific.
        tol: Relative residual at which the solve stops.
        max_iterations: Most Hessian products of one solve.
        clip: Bound on each sample's influence, in multiples of the batch's root mean square, > 0.
        estimator: How a mixture is learned: `score_function` (unbiased, no backward pass) or `straight_through` (less
            variance, biased, needs the gradient of the images).
        kl: Weight of a mixture's divergence from its prior, >= 0; 0 lets it forget the prior up to its floor.
    """

    lr: float = 0.05
    interval: int = 4
    warmup: int = 30
    refresh: int = 1
    hessian_rows: int = 512
    damping: float = 0.1
    tol: float = 1e-2
    max_iterations: int = 100
    clip: float = 3.0
    estimator: Estimator = "score_function"
    kl: float = 0.02

    def __post_init__(self) -> None:
        for name in ("interval", "refresh", "hessian_rows", "max_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"learner.{name} must be at least 1, found {getattr(self, name)}.")
        for name in ("lr", "damping", "tol", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"learner.{name} must be a positive number, found {getattr(self, name)}.")
        for name in ("warmup", "kl"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"learner.{name} must be at least 0, found {getattr(self, name)}.")
        if self.estimator not in get_args(Estimator):
            raise ValueError(
                f"learner.estimator must be one of {', '.join(get_args(Estimator))}, found {self.estimator!r}."
            )


@dataclass(frozen=True)
class PolicyUpdate:
    """What one update saw.

    Attributes:
        influence: Influence of each augmented image on the loss of the influence set, `[B]`; negative helps.
        retention: Accuracy on the augmented images / accuracy on the originals.
        influence_loss: Mean loss on the influence set when S was last solved for.
        solution: The solve in use; one of no iterations if the classifier diverged before the first.
        event: What the guard did to the policy and why, for people; None if nothing.
        rollbacks: How often it has rolled the policy back so far.
    """

    influence: Tensor
    retention: float
    influence_loss: float
    solution: Solution
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
        influence_set: Images `[M, C, H, W]` in [0, 1] and labels `[M]` that look like deployment.
        settings: See `LearnerSettings`.
        base: A fixed policy in front of the learned one, called as `base(images, generator=...)`; None for none.
        label_smoothing: That of the training loss, which the influence of a training sample follows; the influence set
            keeps its hard labels.
        corruption: A control that spoils the influence on purpose; "none" is the method.
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
        self.mixture = augnet.policy if isinstance(augnet.policy, MixturePolicy) else None
        check_estimator(augnet, settings)
        self.base, self.ranks = base, ranks or Ranks()
        self.influence_set = influence_set
        self.corruption = corruption
        self.label_smoothing = label_smoothing
        self.forward_context = forward_context
        self.optimizer = torch.optim.Adam(_parameter_groups(augnet, settings.lr))
        self.guard = Guard(augnet.policy, guard)
        self.bank = FeatureBank(settings.hessian_rows)
        self.generator = torch.Generator().manual_seed(seed)
        self.updates = 0
        self.solution: Solution | None = None
        self.retention = self.highest_retention = 1.0
        self.saturated_at_start = augnet.policy.saturated(augnet.space)
        self.influence_loss = math.nan

    def due(self, step: int) -> bool:
        """Whether an update follows the classifier's step number `step` (the first is 1)."""
        return step > self.settings.warmup and step % self.settings.interval == 0

    def update(self, images: Tensor, labels: Tensor) -> PolicyUpdate:
        """Move the policy once.

        Args:
            images: A training batch `[B, C, H, W]` in [0, 1], not augmented; this rank's part of it.
            labels: `[B]`.

        Returns:
            What the update saw; detached.
        """
        model = self.capture.model
        with frozen(model), _learning(self.augnet):
            with torch.no_grad():
                originals, targets = self._based(images, labels)
            augmented, targets, choices = self._augment(originals, targets)
            features, logits = self._features(augmented)
            everyone = [self.ranks.gather(part) for part in (features, logits, targets)]
            finite = bool(everyone[0].isfinite().all() & everyone[1].isfinite().all())
            if finite:
                self.bank.add(*everyone)
            refresh = finite and (self.solution is None or self.updates % self.settings.refresh == 0)
            if refresh:
                finite = self._refresh(originals, logits, as_classes(targets))
            if finite:
                influence = self._influence(features, logits, targets)
                finite = bool(self.ranks.gather(influence).isfinite().all())
            else:  # the classifier has diverged: nothing can be learned from it
                influence = features.new_full((len(labels),), math.nan, dtype=torch.float32)
            event = self._check(finite) if refresh or not finite else None
            if finite and event is None and not self.guard.gave_up:
                event = self._step(influence, [augmented, targets], choices, logits.dtype)
        self.updates += 1
        return PolicyUpdate(
            influence=influence.detach(),
            retention=self.retention,
            influence_loss=self.influence_loss,
            solution=self.solution or _UNSOLVED,
            event=event,
            rollbacks=self.guard.rollbacks,
        )

    def _based(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Behind the base policy, which is drawn for the global batch."""
        if self.base is None:
            return images, labels
        whole = self.ranks.gather(images), self.ranks.gather(labels)
        images, labels = behind(self.base, *whole, self.capture.head.out_features, self.generator)
        return self.ranks.own(images), self.ranks.own(labels)

    def _influence(self, features: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """Influence of each augmented image `[B]`, or what a control makes of it."""
        targets = smoothed(targets, logits, self.label_smoothing)
        if self.corruption == "shuffled":  # each image answers for the error of another of the same rank
            order = torch.randperm(len(targets), generator=self.generator).to(targets.device)
            logits, targets = logits[order], targets[order]
        return upweight_influence(self._solved(), features, logits, targets)

    def _check(self, finite: bool) -> str | None:
        """Show the guard how the policy is; after a roll-back Adam starts anew."""
        if self.guard.gave_up:
            return None
        saturated, residual, retention = 0.0, 0.0, 1.0
        if self.corruption == "none":
            saturated = self.augnet.policy.saturated(self.augnet.space)
            residual = 0.0 if self.solution is None else self.solution.relative_residual
            retention = self.highest_retention
        if saturated <= self.saturated_at_start:
            saturated = 0.0
        event = self.guard.check(Health(retention, saturated, residual, finite))
        if event is not None:
            self.optimizer.state.clear()
        return event

    def _augment(self, originals: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Augmented images, their targets, and the choices behind them if they are to be scored."""
        if self.augnet.space.mixes:
            targets = as_probabilities(targets, self.capture.head.out_features)
        draws = draw(self.augnet, originals, self.ranks, self.generator)
        if self.mixture is None or self.settings.estimator == "straight_through":
            return *self.augnet(originals, targets, draws=draws), None
        with torch.no_grad():
            magnitudes, choices = self.mixture.choose(originals, draws.numbers)
            batch = self.augnet.space.apply_to(Batch(originals, targets), magnitudes, draws.noise)
            return batch.images, cast(Tensor, batch.labels), choices

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with self.forward_context():
            return self.capture(images)

    @torch.no_grad()
    def _refresh(self, originals: Tensor, augmented_logits: Tensor, labels: Tensor) -> bool:
        """Solve for S anew, from the whole influence set and the bank; measure the retention.

        Returns:
            Whether all numbers were finite; if not, S is what it was.
        """
        parts = [self._features(part) for part in self.influence_set[0].split(_CHUNK)]
        features, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        targets = self.influence_set[1]
        self.influence_loss = float(nn.functional.cross_entropy(logits.float(), targets))
        if not (math.isfinite(self.influence_loss) and bool(features.isfinite().all())):
            return False
        gradient = loss_gradient(features, logits, targets)
        bank_features, bank_logits, _ = self.bank.rows()
        hessian = LastLayerHessian(bank_features, bank_logits, damping=self.settings.damping)
        self.solution = solve(
            hessian,
            gradient,
            method="identity" if self.corruption == "identity_hessian" else "auto",
            tol=self.settings.tol,
            max_iterations=self.settings.max_iterations,
            initial=None if self.solution is None else self.solution.value,
        )
        hits = [_hits(self._features(originals)[1], labels), _hits(augmented_logits, labels)]
        self.ranks.add_up(*hits)
        on_originals, on_augmented = int(hits[0]), int(hits[1])
        self.retention = on_augmented / max(on_originals, 1)
        self.highest_retention = highest_retention(on_augmented, on_originals)
        return True

    def _solved(self) -> Solution:
        if self.solution is None:
            raise RuntimeError("no solution yet: call update first")
        return self.solution

    def _step(
        self, influence: Tensor, augmented: list[Tensor], choices: Tensor | None, network_type: torch.dtype
    ) -> str | None:
        """Move the policy against the gradient of the bounded influence: through `augmented`, or from the choices.

        Returns:
            Why it was not moved, for people; None if it was.
        """
        everyone = self.ranks.gather(influence)
        residual = 0.0 if self.corruption == "identity_hessian" else self._solved().relative_residual
        if not (residual < 1 and everyone.any()):
            return f"{_LEFT}: there is no influence to learn from (are all images predicted with certainty?)."
        size = everyone.square().mean().sqrt().clamp(min=torch.finfo(influence.dtype).tiny)
        limit = self.settings.clip
        sign = -1 if self.corruption == "flipped" else 1
        self.optimizer.zero_grad()
        if self.mixture is None or choices is None:
            bounded = limit * torch.tanh(influence / (limit * size))
            learned = [part for part in augmented if part.requires_grad]  # images, and their targets if they are mixed
            mean = bounded.mean() / self.ranks.count
            gradients = gradients_through(network_type, mean, len(everyone), learned)
            torch.autograd.backward(learned, [sign * gradient for gradient in gradients])
            self.ranks.add_up(*self._gradients())
        else:
            costs = sign * limit * torch.tanh(everyone / (limit * size))
            score_function(self.mixture.log_prob(self.ranks.gather(choices)), costs).backward()
        if self.mixture is not None:
            (self.settings.kl * self.mixture.kl()).backward()
        finite = all(bool(gradient.isfinite().all()) for gradient in self._gradients())
        if finite:
            self.optimizer.step()
        buffers = [buffer for buffer in self.augnet.buffers() if buffer.is_floating_point()]
        self.ranks.average(*buffers)  # what a policy keeps of its latest batches, for `describe`
        return None if finite else f"{_LEFT}: its gradient is not finite."

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.augnet.parameters() if parameter.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs; tensors and numbers only."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "guard": self.guard.state_dict(),
            "bank": self.bank.state_dict(),
            "generator": self.generator.get_state(),
            "updates": self.updates,
            "solution": None if self.solution is None else vars(self.solution),
            "retention": self.retention,
            "highest_retention": self.highest_retention,
            "saturated_at_start": self.saturated_at_start,
            "influence_loss": self.influence_loss,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.guard.load_state_dict(state["guard"])
        self.bank.load_state_dict(state["bank"])
        self.generator.set_state(state["generator"].cpu())
        self.updates = state["updates"]
        self.solution = None if state["solution"] is None else Solution(**state["solution"])
        for name in ("retention", "highest_retention", "saturated_at_start", "influence_loss"):
            setattr(self, name, state[name])


def _parameter_groups(augnet: AugNet[Any, Any], lr: float) -> list[dict[str, Any]]:
    """Logits with the learning rate, the weights of a network with a small share of it."""
    weights = augnet.policy.network_weights()
    slow = {id(weight) for weight in weights}
    logits = [parameter for parameter in augnet.parameters() if id(parameter) not in slow]
    groups = [{"params": logits, "lr": lr}, {"params": weights, "lr": _NETWORK_SHARE * lr}]
    return [group for group in groups if group["params"]]


@contextmanager
def _learning(augnet: AugNet[Any, Any]) -> Iterator[None]:
    """Training mode and gradients for the policy inside; without both outside."""
    training = augnet.training
    augnet.train().requires_grad_(True)
    try:
        yield
    finally:
        augnet.train(training).requires_grad_(False)


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many predictions are right."""
    return (logits.argmax(dim=1) == labels).sum()
