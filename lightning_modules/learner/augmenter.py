"""Learned augmentation in any training loop."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from augnet import AugNet, save_policy
from augnet.baselines import Baseline, MixingBaseline
from influence.losses import LossLike, loss_from
from lightning_modules.learner.agreement import WatchedStep, is_compiled
from lightning_modules.learner.checks import check_alike, check_batch, check_numbers, check_pairs, validate_images
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.head import check_gradient
from lightning_modules.learner.influence_set import Source, checked_pixels, classifier_of, gathered, moved_to
from lightning_modules.learner.normalization import Normalization
from lightning_modules.learner.policy_choice import Control, PolicyChoice, PolicyName, check_fit
from lightning_modules.learner.policy_identity import check_head, check_state, identity_of
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.settings import InfluenceControl, LearnerSettings
from lightning_modules.learner.targets import check_for_loss, check_for_policy
from lightning_modules.learner.training_augmentation import TrainingAugmentation, base_policy_of
from lightning_modules.learner.wrong_domain import wrong_domain

_LOOKS = 10  # batches whose pixels are read: that waits for an accelerator
_FORGOTTEN = 100  # calls without a step, or steps without a call
_RAW = 0.05  # below zero: a rounding error no more
_FIXED = ("plain", "uniform")  # controls whose policy is not learned


class Augmenter:
    """Augments the batches of a training loop, and learns how from the influence set.

    Args:
        model: The classifier: maps the loop's images to logits, or to an output with `logits`, and ends in a linear
            layer. Fabric, Accelerate or `DistributedDataParallel` may have wrapped it.
        influence: Labeled images that look like deployment, prepared in the same way as the training batches: two
            tensors, a data set or a loader. None applies the policy as it is and learns nothing.
        ops: The ops of the policy: a list of op names, or a mapping from op name to its bound; see docs/policies.md.
        policy: The kind of policy, see `AugmentedClassifier`; or a policy, for instance from `load_policy`, to start
            from.
        mean: Subtracted by the data loader from images in [0, 1]: a number, or one for each channel.
        std: The data loader's divisor after that.
        initial_range: Ranges at the start, as a fraction of the bounds, in (0, 1].
        ops_per_image: Ops that a mixture does to each image, 1 or 2.
        base_policy: A fixed policy in front of the learned one, by name; see `AugmentedClassifier`.
        policy_probability: Share of the images that pass the learned policy, in (0, 1].
        control: See `AugmentedClassifier`.
        loss: The loop's loss, called as `loss(logits, labels)`: a module of torch, or any function that is a mean or a
            sum over the images and can be differentiated twice; see docs/own_module.md. By default cross-entropy.
        label_smoothing: That of the default cross-entropy, in [0, 1).
        learner: Settings of the learning of the policy.
        guard: When the policy is rolled back to its last healthy state.
        label_key: Place or key of the labels in batches of `influence`; by default the second part, or the usual keys.
        checked_steps: First steps in which the images at the classifier's first layer and the gradient at its logits
            are compared with those of the learner.
        num_classes: K; by default the outputs of the head. Images that are mixed need it without an influence set.
        total_steps: Steps of the loop, which `LearnerSettings.until` below 1 needs.
        ranks: Among which the batches are divided; by default all of torch's process group.
        forward_context: Context of every pass of the classifier, for instance autocast.
        seed: Of the learner's own draws.

    Raises:
        ValueError: If the model, the influence set, or a setting is not what it should be; before any training.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> images, labels = torch.rand(20, 1, 8, 8), torch.arange(20) % 2
        >>> augmenter = Augmenter(model, influence=(images[:8], labels[:8]), ops={"rotation": 45.0})
        >>> for _ in range(2):
        ...     loss = nn.functional.cross_entropy(model(augmenter(images, labels)), labels)
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        ...     update = augmenter.step(images, labels)
        >>> augmenter.policy.describe()["rotation"]["unit"]
        'degrees'
    """

    def __init__(
        self,
        model: nn.Module,
        influence: Source | None = None,
        ops: Sequence[str] | Mapping[str, float] = (),
        policy: PolicyName | AugNet[Any, Any] | None = "ranges",
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        *,
        initial_range: float = 0.1,
        ops_per_image: int = 1,
        base_policy: str | Baseline | MixingBaseline | None = None,
        policy_probability: float = 1.0,
        control: Control = "none",
        loss: LossLike | None = None,
        label_smoothing: float = 0.0,
        learner: LearnerSettings = LearnerSettings(),  # noqa: B008 - frozen
        guard: GuardSettings = GuardSettings(),  # noqa: B008 - frozen
        label_key: int | str | None = None,
        checked_steps: int = 2,
        num_classes: int | None = None,
        total_steps: int | None = None,
        ranks: Ranks | None = None,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        seed: int = 0,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch.nn.Module, found a {type(model).__name__}.")
        check_numbers("", "[0, 1)", label_smoothing=label_smoothing)
        check_numbers("", "[1, 1e15] or null", total_steps=total_steps)
        self.normalization, self.label_key = Normalization(mean, std), label_key
        self.control, self.steps, self.last_step, self._looked_at = control, 0, math.inf, 0
        self.model, self.checked_steps, self.loss = model, checked_steps, loss_from(loss, label_smoothing)
        self.learner: PolicyLearner | None = None
        self.capture: FeatureCapture | None = None
        self._influence_range = (0.0, 0.0)
        self._watched: WatchedStep | None = None
        self._latest: tuple[ReferenceType[Tensor], Tensor, Tensor] | None = None  # augmented images, and the batch
        self._calls, self._own_steps = 0, 0
        self.influence_set: tuple[Tensor, Tensor] | None = None
        size: tuple[int, ...] = ()
        if influence is not None:
            self.influence_set = self.prepared(influence)
            self.capture = classifier_of(model, self.normalization, self.influence_set, self.loss)
            _check_outputs(num_classes, self.capture)
            num_classes, size = self.capture.head.out_features, tuple(self.influence_set[0].shape[1:])
        if not isinstance(policy, str) and (ops or ops_per_image != 1):
            raise ValueError(
                "ops and ops_per_image are for a kind of policy by name, found a policy too: leave one out."
            )
        chosen = (
            PolicyChoice(
                name=policy, ops=ops, ops_per_image=ops_per_image, initial_range=initial_range, control=control
            )
            if isinstance(policy, str)
            else policy
        )
        augnet = self._built(chosen, num_classes, size)
        base = base_policy_of(base_policy)
        self.augmentation = TrainingAugmentation(
            base, augnet, policy_probability, num_classes, ranks or Ranks.everyone(), self.normalization
        )
        if self.capture is None or self.influence_set is None or augnet is None or control in _FIXED:
            return
        if (dtype := next(augnet.parameters()).dtype).itemsize < 4:
            raise ValueError(
                f"the policy is learned in float32, found {dtype}: train in mixed precision (autocast; with Lightning "
                "trainer.precision bf16-mixed)."
            )
        if learner.until < 1:
            if total_steps is None:
                raise ValueError(f"learner.until={learner.until} is a share of the loop: give total_steps.")
            self.last_step = learner.until * total_steps
        if not augnet.policy.learns_from_choices:
            with forward_context():
                check_gradient(self.capture, self.influence_set[0][:2])
        self.learner = PolicyLearner(
            augnet,
            self.capture,
            self.influence_set,
            learner,
            base=base,
            control=cast(InfluenceControl, control),
            loss=self.loss,
            guard=guard,
            ranks=self.augmentation.ranks,
            forward_context=forward_context,
            seed=seed,
        )

    def _built(
        self, policy: PolicyChoice | AugNet[Any, Any] | None, num_classes: int | None, size: tuple[int, ...]
    ) -> AugNet[Any, Any] | None:
        """Build the policy on the model's device, or take the given one, if it fits images of size (C, H, W)."""
        channels = size[0] if size else None
        if isinstance(policy, PolicyChoice):
            if policy.needs_images and not size:
                raise ValueError(f"policy {policy.name} depends on the images: give an influence set, or the policy.")
            policy = policy.build(channels, num_classes, (size[1], size[2]) if size else None)
        elif policy is not None:
            check_fit(policy, channels, num_classes, (size[1], size[2]) if size else None)
        return None if policy is None else policy.requires_grad_(False).to(_device(self.model))

    def prepared(self, influence: Source) -> tuple[Tensor, Tensor]:
        """Read and check an influence set: pixels `[M, C, H, W]` in [0, 1] and labels `[M]`, on the model's device.

        For the control `wrong_domain` the pixels are other ones than given.
        """
        self.normalization.to(_device(self.model))
        images, labels = gathered(influence, self.label_key)
        self._influence_range = float(images.min()), float(images.max())
        pixels, labels = moved_to(self.model, (checked_pixels(images, self.normalization), labels))
        return (wrong_domain(pixels) if self.control == "wrong_domain" else pixels), labels

    @property
    def policy(self) -> AugNet[Any, Any] | None:
        """The learned policy: its average over the updates; None for the control `plain`."""
        return self.augmentation.augnet if self.learner is None else self.learner.result

    def __call__(self, images: Tensor, labels: Tensor | None = None) -> Any:
        """Augment a training batch.

        Args:
            images: `[B, C, H, W]`, normalized as the data loader does.
            labels: `[B]` class numbers, which `class_conditional` policies and mixed images need.

        Returns:
            Images like these; where images are mixed with each other a pair of images and probabilities `[B, K]`.

        Raises:
            ValueError: If the batch is not what it should be.
        """
        labeled = labels is not None
        if labels is None and self.augmentation.mixes:
            raise ValueError("images are mixed, and their labels with them: call with images and labels.")
        self.check(images, labels)
        if labels is None:
            if self.augmentation.augnet is not None and self.augmentation.augnet.policy.num_classes:
                raise ValueError("the policy has ranges for each class: call with images and labels.")
            labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        augmented, targets = self.augmentation(images, labels)
        if self.learner is not None:
            self._latest, self._calls = (ref(augmented), images, labels), self._calls + 1
            if self._calls == _FORGOTTEN and self._own_steps == 0:
                warnings.warn(f"{_FORGOTTEN} batches were augmented and none learned from: call step.", stacklevel=2)
        if self._watched is not None:
            self._watched.stop()
            self._watched = None
        watched = self.capture is not None and self._looked_at <= self.checked_steps
        if watched and self.capture is not None and labeled and not is_compiled(self.model):
            self._watched = WatchedStep(self.capture, self.normalization.pixels(augmented), targets)
        return (augmented, targets) if self.augmentation.mixes else augmented

    def step(self, images: Tensor, labels: Tensor) -> PolicyUpdate | None:
        """Count a step of the optimizer; every few steps, update the policy.

        Args:
            images: The batch that was just trained on, before its augmentation; for the augmented images of the latest
                call, the batch of that call is taken.
            labels: `[B]`.

        Returns:
            The numbers of the update; None after a step without one.

        Raises:
            ValueError: If the loop gave the classifier other images than the learner does, or minimized another loss,
                in the first steps.
        """
        if self._watched is not None:
            watched, self._watched = self._watched, None
            if (warning := watched.check_images()) is not None:
                warnings.warn(warning, stacklevel=2)
            else:
                watched.check_loss(self.loss)
        self.steps, self._own_steps = self.steps + 1, self._own_steps + 1
        if self._own_steps == _FORGOTTEN and self._calls == 0 and self.learner is not None:
            warnings.warn(f"{_FORGOTTEN} steps, and no batch was augmented: call the augmenter.", stacklevel=2)
        latest, self._latest = self._latest, None
        if latest is not None and latest[0]() is images:
            _, images, labels = latest
        return self.update(self.steps, images, labels)

    def due(self, step: int) -> bool:
        """Return True if an update follows step number `step` (the first is 1)."""
        return self.learner is not None and self.learner.due(step)

    def update(self, step: int, images: Tensor, labels: Tensor) -> PolicyUpdate | None:
        """Update the policy if it is due after step number `step`; see `step`."""
        if self.learner is None:
            return None
        update = None
        if self.learner.due(step):
            self.check(images, labels)
            check_for_loss(labels, self.loss, self.learner.capture.head.out_features)
            with torch.inference_mode(False), torch.enable_grad():  # loops may have switched gradients off
                images, labels = (part.clone() if part.is_inference() else part for part in (images, labels))
                update = self.learner.update(self.normalization.pixels(images.detach()), labels)
        if step >= self.last_step and not self.learner.finished:
            self.learner.finish()
        return update

    def check(self, images: Tensor, labels: Tensor | None) -> None:
        """Raise ValueError unless a batch is what it was said to be; reads the first ones."""
        check_batch(images)
        if labels is not None:
            check_pairs(images, labels)
        if self.influence_set is not None:
            check_alike(images, labels, self.influence_set[0])
        if self._looked_at < _LOOKS:
            validate_images(self.normalization.undone(images))
            self._check_influence_images(images)
            if labels is not None:
                self._check_labels(labels)
            self._looked_at += 1

    def _check_labels(self, labels: Tensor) -> None:
        """Raise ValueError unless the policy can take these labels, and one be learned from them if one is."""
        augnet = self.augmentation.augnet
        check_for_policy(labels, 0 if augnet is None else augnet.policy.num_classes, self.augmentation.mixes)
        if self.learner is not None:
            check_for_loss(labels, self.loss, self.learner.capture.head.out_features)

    def _check_influence_images(self, images: Tensor) -> None:
        """Raise ValueError if training images are normalized and the influence images are not, or the reverse."""
        low, high = self._influence_range
        first, last = float(images.min()), float(images.max())
        raw = [lowest >= -_RAW and highest <= 1 + _RAW for lowest, highest in ((first, last), (low, high))]
        if raw[0] != raw[1] and not self.normalization.is_identity and self.influence_set is not None:
            raise ValueError(
                f"the training images lie in [{first:.3g}, {last:.3g}] and the influence images in [{low:.3g}, "
                f"{high:.3g}]: one of them is normalized and the other is not; prepare them in the same way."
            )

    def save(self, path: str | Path) -> None:
        """Write the learned policy, for `load_policy`; ValueError if there is none."""
        if self.policy is None:
            raise ValueError("there is no policy to save: control is plain.")
        save_policy(self.policy, path)

    def state_dict(self) -> dict[str, Any]:
        """The policy and everything that a resumed loop needs of its learning; tensors and numbers only."""
        augnet = self.augmentation.augnet
        parts = {"policy": augnet, "learner": self.learner}
        states = {name: part.state_dict() for name, part in parts.items() if part is not None}
        identity = None if augnet is None else identity_of(augnet)
        return {"steps": self.steps, "identity": identity, "control": self.control, **states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, or that of a `LearnedAugmentation`; the settings are those given here.

        Raises:
            ValueError: If it is broken, or of another kind of policy, ops, bounds, control or last layer.
        """
        augnet = self.augmentation.augnet
        check_state(state, augnet, self.control)
        if self.learner is not None and "learner" not in state:
            raise ValueError("the saved state is of a policy that was not learned: begin anew with that policy.")
        if self.learner is not None:
            self.load_learner(state["learner"])
        if augnet is not None:
            augnet.load_state_dict(state["policy"])
        self.steps = state.get("steps", 0)

    def load_learner(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the learner alone; ValueError if it is of another last layer."""
        if self.learner is not None:
            check_head(state, self.learner.capture.head)
            self.learner.load_state_dict(dict(state))


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _check_outputs(num_classes: int | None, capture: FeatureCapture) -> None:
    """Raise ValueError if a number of classes was given and is not that of the outputs."""
    if num_classes not in (None, capture.head.out_features):
        raise ValueError(f"num_classes={num_classes}, and the model has {capture.head.out_features} outputs.")
