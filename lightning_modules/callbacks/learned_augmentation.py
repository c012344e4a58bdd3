"""Learned augmentation in a Lightning training: the bridge from `Trainer` and `LightningModule` to the learner."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from weakref import ReferenceType, ref

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from torch import Tensor

from augnet import AugNet, save_policy
from influence.losses import LossLike, loss_from
from lightning_modules.callbacks.augmented_step import AugmentedStep
from lightning_modules.callbacks.policy_stage import learn_after_training
from lightning_modules.callbacks.sample_training import samples_of
from lightning_modules.callbacks.trainer_facts import (
    check_loop,
    influence_data,
    measures_batch_statistics,
    naming_loaders,
    part_of,
)
from lightning_modules.learner.augmenter import Augmenter
from lightning_modules.learner.batch_form import images_and_labels, row_numbers
from lightning_modules.learner.checks import check_choice, check_numbers
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.ignored_settings import ignored_settings
from lightning_modules.learner.influence_set import (
    Source,
    check_rereadable,
    checked_pixels,
    classifier_of,
    gathered,
    moved_to,
    source_of,
)
from lightning_modules.learner.normalization import Normalization
from lightning_modules.learner.paths import expanded
from lightning_modules.learner.policy_choice import Control, PolicyChoice, PolicyName, check_fit
from lightning_modules.learner.policy_identity import check_state, identity_of
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.sample_weights import SampleSettings, SampleWeights
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.staged import StagedSettings
from lightning_modules.learner.training_augmentation import TrainingAugmentation, base_policy_of
from lightning_modules.monitoring.alerts import announce
from lightning_modules.monitoring.policy_metrics import policy_metrics
from lightning_modules.monitoring.run_files import require_writable

Schedule = Literal["joint", "staged"]


class LearnedAugmentation(pl.Callback):
    """Augments every training batch of a LightningModule, and learns how while it trains.

    Batches are `(images, labels, ...)`, or dictionaries with an image and a label; the module's `training_step` gets
    them with augmented images. The module may do what it likes with them, its own manual optimization included. It,
    or the part of it that `classifier` names, must map images to logits and end in a linear layer.

    Args:
        ops: A list of op names, or a mapping from op name to its bound in the op's unit; see docs/policies.md.
        influence: The influence set: images that look like deployment with their labels, as a DataLoader or as two
            tensors, prepared in the same way as the training batches. By default that of the trainer's data module.
        classifier: The attribute of the module that maps images to logits, as `"model"`; by default the module itself.
        initial_range: Ranges at the start, as a fraction of the bounds, in (0, 1].
        learner: Settings of the learning of the policy.
        guard: When the policy is rolled back to its last healthy state.
        pixel_mean: Subtracted by the data loader from images in [0, 1]: a number, or one for each channel.
        pixel_std: The data loader's divisor after that.
        policy_path: File for the policy after every epoch, relative to the trainer's folder; None writes none.
        policy: The kind of policy, see `AugmentedClassifier`.
        ops_per_image: Ops that a mixture does to each image, 1 or 2.
        base_policy: A fixed policy in front of the learned one, see `AugmentedClassifier`.
        policy_file: A saved policy to train with, frozen, instead of learning one; its ops replace `ops`.
        policy_probability: Share of the training images that pass the learned policy, in (0, 1].
        schedule: `joint`, or `staged`: train behind the base policy alone, and learn the policy at the end.
        staged: The policy stage of `staged`.
        samples: Weights and soft labels of the training images; they need an `InfluenceDataModule`.
        control: See `AugmentedClassifier`.
        loss: The module's loss of logits and labels, see `Augmenter`; by default cross-entropy.
        label_smoothing: That of the default cross-entropy, in [0, 1).
        label_key: Place or key of the labels in a batch; by default the second part, or the usual keys.
        checked_steps: First training steps in which the images and the loss of the module are compared with those that
            the learner uses; a difference is an error that says its cause, or a warning.
        num_classes: K; by default the outputs of the head. Mixed images need it where no influence set is used.
        in_channels: By default those of the influence set, as is `image_size`, height and width in pixels.

    Example:
        >>> images, labels = torch.rand(8, 1, 16, 16), torch.arange(8) % 2
        >>> augmentation = LearnedAugmentation(["rotation", "scale"], influence=(images, labels))
        >>> trainer = pl.Trainer(callbacks=[augmentation], logger=False, enable_checkpointing=False)
    """

    def __init__(
        self,
        ops: Sequence[str] | Mapping[str, float],
        influence: Source | None = None,
        classifier: str | None = None,
        initial_range: float = 0.1,
        learner: LearnerSettings = LearnerSettings(),  # noqa: B008 - frozen
        guard: GuardSettings = GuardSettings(),  # noqa: B008 - frozen
        pixel_mean: float | Sequence[float] = 0.0,
        pixel_std: float | Sequence[float] = 1.0,
        policy_path: str | Path | None = "policy.json",
        *,
        policy: PolicyName = "ranges",
        ops_per_image: int = 1,
        base_policy: str = "none",
        policy_file: str | None = None,
        policy_probability: float = 1.0,
        schedule: Schedule = "joint",
        staged: StagedSettings = StagedSettings(),  # noqa: B008 - frozen
        samples: SampleSettings = SampleSettings(),  # noqa: B008 - frozen
        control: Control = "none",
        loss: LossLike | None = None,
        label_smoothing: float = 0.0,
        label_key: int | str | None = None,
        checked_steps: int = 2,
        num_classes: int | None = None,
        in_channels: int | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        check_choice("schedule", schedule, Schedule)
        check_numbers("", "[0, 1)", label_smoothing=label_smoothing)
        check_rereadable(influence)
        self.choice = PolicyChoice(
            name=policy,
            ops=ops,
            ops_per_image=ops_per_image,
            initial_range=initial_range,
            file=policy_file and expanded(policy_file),
            control=control,
        )
        if ignored := ignored_settings(self.choice, schedule, learner, staged, samples):
            rank_zero_warn(ignored)
        self.influence, self.classifier, self.policy_path = influence, classifier, policy_path
        self.staged = staged if self.choice.learns and schedule == "staged" else None
        self.settings = learner if self.staged is None else replace(learner, refresh=0)
        self.guard, self.loss, self.sample_settings = guard, loss_from(loss, label_smoothing), samples
        self.normalization = Normalization(pixel_mean, pixel_std)
        self.augmentation = TrainingAugmentation(
            base_policy_of(base_policy), None, policy_probability, num_classes, normalization=self.normalization
        )
        self.augmenter: Augmenter | None = None
        self.samples: SampleWeights | None = None
        self.last_update: PolicyUpdate | None = None
        self.staged_strengths: dict[int, dict[str, float]] = {}
        self._resumed: dict[str, Any] = {}
        self._fitted: tuple[ReferenceType[pl.Trainer], ReferenceType[pl.LightningModule]] | None = None
        self._goes_on = False  # with the policy of another training of the same module
        self._start: dict[str, Tensor] = {}  # parameters of the policy before any training
        self._step: AugmentedStep | None = None
        self._latest_step, self.label_key, self.checked_steps = 0, label_key, checked_steps
        if not self.choice.needs_images or None not in (in_channels, num_classes):
            self._build_policy(in_channels, num_classes, image_size)

    @staticmethod
    def of(trainer: pl.Trainer) -> "LearnedAugmentation | None":
        """The callback of this kind that a trainer has; None if it has none."""
        return next((one for one in trainer.callbacks if isinstance(one, LearnedAugmentation)), None)  # type: ignore[attr-defined]

    @property
    def augnet(self) -> AugNet[Any, Any] | None:
        """The policy as it is drawn from; None without a policy, and before training for one that needs the images."""
        return self.augmentation.augnet

    @property
    def learner(self) -> PolicyLearner | None:
        """The learner of the policy; None before training, and where nothing is learned."""
        return None if self.augmenter is None else self.augmenter.learner

    @property
    def learned(self) -> AugNet[Any, Any] | None:
        """The policy for files and people: its average over the updates where it is learned; None without a policy."""
        if self.augmenter is not None:
            return self.augmenter.policy
        state = self._resumed.get("learner")
        if self.augnet is None or state is None:
            return self.augnet
        average = deepcopy(self.augnet.policy)
        average.load_state_dict(state["average"]["policy"])
        return AugNet(self.augnet.space, average)

    @property
    def uses_influence(self) -> bool:
        """True if anything is learned from an influence set: the policy, or weights and labels of images."""
        return self.choice.learns or self.sample_settings.any

    def _build_policy(
        self, in_channels: int | None, num_classes: int | None, image_size: tuple[int, int] | None
    ) -> None:
        """Build the policy, and check it together with what is in front of it and learned beside it."""
        augnet = self.choice.build(in_channels, num_classes, image_size)
        self.augmentation.augnet = augnet
        self._start = {} if augnet is None else deepcopy(augnet.policy.state_dict())
        if self.staged is not None and augnet is not None:
            self.staged.check(augnet, self.augmentation.base is not None)
        if self.sample_settings.any and self.augmentation.mixes:
            raise ValueError("samples: images that are mixed have no weight or label of their own: leave mixing out.")
        if augnet is not None:
            self._restore_policy(augnet)

    def check(self, module: pl.LightningModule, data: Any) -> None:
        """Raise ValueError unless a policy can be learned for a module, from the influence set given or of its data."""
        network = part_of(module, self.classifier)
        images, labels = gathered(source_of(self.influence, data), self.label_key)
        pixels = checked_pixels(images, self.normalization)
        capture = classifier_of(network, self.normalization, moved_to(network, (pixels, labels)), self.loss)
        channels, num_classes = images.shape[1], capture.head.out_features
        if self.augnet is None and self.choice.needs_images:
            self._build_policy(channels, num_classes, (images.shape[2], images.shape[3]))
        if self.augnet is not None:
            check_fit(self.augnet, channels, num_classes)

    def _influence_set(self, trainer: pl.Trainer) -> Source:
        """The influence set in the precision of the training."""
        source = source_of(self.influence, trainer.datamodule)  # type: ignore[attr-defined]
        converted: tuple[Tensor, Tensor] = trainer.precision_plugin.convert_input(gathered(source, self.label_key))
        return converted

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse what a policy cannot be learned in; in another training than the last, begin with the policy anew."""
        if stage != "fit":
            return
        check_loop(trainer, pl_module, self.uses_influence)
        last, self._fitted = self._fitted, (ref(trainer), ref(pl_module))
        if last is None or last[0]() is trainer:
            self._goes_on = False
            return
        self._goes_on, self._resumed = last[1]() is pl_module, {}
        if not self._goes_on and self.augnet is not None:
            self.augnet.policy.load_state_dict(self._start)
            self.augmenter, self.samples, self.last_update = None, None, None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Build the augmenter, and put it in front of `training_step`; see `check` for the errors."""
        if self.policy_path is not None and trainer.is_global_zero:
            require_writable((Path(trainer.default_root_dir) / self.policy_path).parent, "policy_path")
        if self._goes_on and self.learner is not None and not self._resumed:
            rank_zero_info("The policy goes on from that of the last fit: begin anew with a new LearnedAugmentation.")
        network = part_of(pl_module, self.classifier) if self.uses_influence else pl_module
        if self.choice.learns and self.augnet is None:
            self.check(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        self.augmenter = Augmenter(
            network,
            self._influence_set(trainer) if self.choice.learns else None,
            policy=self.augnet,
            mean=self.normalization.mean.tolist(),
            std=self.normalization.std.tolist(),
            base_policy=self.augmentation.base,
            policy_probability=self.augmentation.probability,
            control=self.choice.control,
            loss=self.loss,
            learner=replace(self.settings, until=1.0),  # see `on_train_start`
            guard=self.guard,
            num_classes=self.augmentation.num_classes,
            ranks=Ranks.everyone(trainer.world_size),
            forward_context=trainer.precision_plugin.forward_context,
            seed=torch.initial_seed() % 2**63,
        )
        self.augmentation, self.normalization = self.augmenter.augmentation, self.augmenter.normalization
        if "learner" in self._resumed:
            self.augmenter.load_learner(self._resumed.pop("learner"))
        if self.sample_settings.any:
            influence_set = self.augmenter.prepared(self._influence_set(trainer))
            settings = (self.sample_settings, self.settings)
            self.samples = samples_of(trainer, network, self.augmenter, influence_set, *settings)
            if (state := self._resumed.pop("samples", None)) is not None:
                self.samples.load_state_dict(state)
        capture = self.augmenter.capture if self.samples is None else self.samples.capture
        self._step = AugmentedStep(self, trainer, pl_module, capture, self.checked_steps)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the steps from where a run goes on; ValueError if learning ends at a share of an unknown length."""
        self._latest_step = trainer.global_step
        if self.augmenter is not None and self.choice.learns and self.settings.until < 1:
            self.augmenter.last_step = self.settings.until * trainer.estimated_stepping_batches
            if math.isinf(self.augmenter.last_step):
                raise ValueError(
                    f"learner.until={self.settings.until} is a share of the run, whose length is not known: set "
                    "trainer.max_epochs or trainer.max_steps."
                )
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the influence set of this epoch, and draw the images by their weights.

        Once nothing is learned from the influence set any more, it trains too.
        """
        data = influence_data(trainer)
        if data is None:
            return
        users: list[PolicyLearner | SampleWeights] = [] if self.samples is None else [self.samples]
        if self.learner is not None and not self.learner.stopped:
            users.append(self.learner)
        if not users:
            data.release()
        if data.rotate(trainer.current_epoch) and users and self.influence is None and self.augmenter is not None:
            influence_set = self.augmenter.prepared(self._influence_set(trainer))
            for user in users:
                user.influence.influence_set = influence_set
        if self.samples is not None and self.samples.settings.weights:
            self.samples.counts.copy_(data.draw(self.samples.agreed_weights()))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Check the first batch before anything is trained on it."""
        if batch_idx == 0 and trainer.current_epoch == 0 and self.augmenter is not None:
            with naming_loaders(trainer):
                self.augmenter.check(*images_and_labels(batch, self.label_key))

    def augmented(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels of a training batch as the classifier gets them, see `TrainingAugmentation`."""
        if self.staged is not None:  # the policy is learned later, against the classifier that is trained now
            return replace(self.augmentation, augnet=None)(images, labels)
        return self.augmentation(images, labels)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """If one is due, update the policy on the batch that was just trained on, and log the numbers of the update."""
        if self._step is not None:
            self._step.check_loss()
        stepped, self._latest_step = trainer.global_step != self._latest_step, trainer.global_step
        augmenter, learner = self.augmenter, self.learner
        unchanged = not stepped or measures_batch_statistics(trainer)
        if augmenter is None or learner is None or self.staged is not None or unchanged:
            return
        images, labels = images_and_labels(batch, self.label_key)
        if self.samples is not None and augmenter.due(trainer.global_step):
            labels = self.samples.labels(row_numbers(batch), labels)
        update = augmenter.update(trainer.global_step, images, labels)
        if update is not None:
            self.last_update = update
            announce(update.event, learner.guard.gave_up, trainer.loggers)
            pl_module.log_dict(policy_metrics(update, learner.result, learner.guard))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log how far weights and labels have moved, and write the policy file."""
        if self.samples is not None:
            pl_module.log_dict(self.samples.metrics())
        self.write_policy(trainer, self.policy_path)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """In the staged schedule, learn the policy against the trained classifier."""
        if self.staged is None or self.learner is None or trainer.interrupted:
            return
        learn_after_training(self, self.learner, self.staged, trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the module as it was; a staged policy is learned after the last epoch and written here."""
        if self._step is not None:
            self._step.remove()
        if self.staged is not None:
            self.write_policy(trainer, self.policy_path)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the module as it was."""
        if self._step is not None:
            self._step.remove()

    @rank_zero_only
    def write_policy(self, trainer: pl.Trainer, path: str | Path | None) -> None:
        """Write the learned policy, if there is one, to a file relative to the trainer's folder; None writes none."""
        if path is not None and self.learned is not None:
            save_policy(self.learned, Path(trainer.default_root_dir) / path)

    def state_dict(self) -> dict[str, Any]:
        """The policy and everything that a resumed run needs of its learning; tensors and numbers only."""
        parts = {"policy": self.augnet, "learner": self.learner, "samples": self.samples}
        states = {name: part.state_dict() for name, part in parts.items() if part is not None}
        return {"identity": self.augnet and identity_of(self.augnet), "control": self.choice.control, **states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the policy, ValueError if it is another one; keep the other states until the learner is built."""
        self._resumed = {name: state for name, state in state_dict.items() if state is not None}
        if self.augnet is not None:
            self._restore_policy(self.augnet)

    def _restore_policy(self, augnet: AugNet[Any, Any]) -> None:
        if self._resumed:
            check_state(self._resumed, augnet, self.choice.control)
            augnet.load_state_dict(self._resumed["policy"])
