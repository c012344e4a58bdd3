"""The product's classifier with learned augmentation: a `Classifier` that installs `LearnedAugmentation`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from augnet import AugNet
from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation, Schedule
from lightning_modules.classifier.checkpoint import check_kind_of_labels
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.classifier.label_kinds import loss_for
from lightning_modules.classifier.old_checkpoints import modernize, modernized_file
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.paths import expanded
from lightning_modules.learner.policy_choice import Control, PolicyName
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.sample_weights import SampleSettings, SampleWeights
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.staged import StagedSettings


class AugmentedClassifier(Classifier):
    """A classifier whose augmentation policy is learned while it trains.

    Each training batch passes through the base policy and the learned policy to the classifier. Every few steps
    the learner moves the policy so that the loss on the influence set is predicted to fall. All of that is done by the
    callback `LearnedAugmentation`, which this class builds from its arguments and installs.

    Args:
        ops: The ops of the learned policy: a list of op names, or a mapping from op name to its bound, the largest
            magnitude in the op's unit; see docs/policies.md.
        policy: What is learned. `ranges`: one range for each op, all ops on every image. `intervals`: the same with two
            ends, for a deployment that lies on one side, as one that is always brighter. `mixture`: how often each op
            is taken and how strongly, from uniform over `ops` on; `trivial_augment_mixture`: the same from
            TrivialAugment-Wide on, whose ops replace `ops`. `conditional`: ranges for each image, from an encoder
            network. `class_conditional`: ranges for each class. `field`: the paper's own network, a displacement and a
            color filter for every pixel instead of `ops`.
        ops_per_image: Ops that a mixture does to each image, 1 or 2.
        initial_range: Ranges at the start, as a fraction of the bounds, in (0, 1]. At 0 there would be no gradient.
            Mixtures and `field` have none.
        image_size: Height and width of the images in pixels, which `field` needs; taken from the data.
        base_policy: A fixed policy in front of the learned one: `none`, the name of a baseline (`flip_crop`,
            `trivial_augment`, `rand_augment`, `auto_augment`, `augmix`, `cutout`, `mixup`, `cutmix`), or several
            joined by `+`, for instance `flip_crop+trivial_augment`; the last two can only be the last.
            `rand_augment:5` has a magnitude of 5 (0 to 30) instead of 9.
        policy_file: A saved policy to train with, frozen, instead of learning one; its ops replace `ops`.
        policy_probability: Share of the training images that pass the learned policy, in (0, 1]; the others pass the
            base policy alone.
        schedule: `joint` learns policy and classifier together. `staged` is the paper's: the classifier trains behind
            the base policy alone, the policy is then learned against it with a single solve for S; `train.py fit` goes
            on with a fresh classifier behind the learned policy.
        staged: The policy stage of `staged`.
        samples: Weights and soft labels of the training images, learned from the influence set too; off by default.
        learner: Settings of the learning of the policy.
        guard: When a policy that is being learned is rolled back to its last healthy state.
        control: `none` is the method. `plain` has no policy at all, `uniform` draws uniformly up to the bounds of the
            same ops, for a mixture as it does at its start; `field` has none. The others spoil the influence and should
            do worse: `shuffled` (each image is scored by the error of another), `flipped` (its sign),
            `identity_hessian` (no curvature), `wrong_domain` (an influence set that no deployment looks like).
        **kwargs: See `Classifier`.
    """

    def __init__(
        self,
        ops: list[str] | dict[str, float],
        policy: PolicyName = "ranges",
        ops_per_image: int = 1,
        initial_range: float = 0.1,
        image_size: tuple[int, int] | None = None,
        base_policy: str = "none",
        policy_file: str | None = None,
        policy_probability: float = 1.0,
        schedule: Schedule = "joint",
        staged: StagedSettings = StagedSettings(),  # noqa: B008 - frozen
        samples: SampleSettings = SampleSettings(),  # noqa: B008 - frozen
        learner: LearnerSettings = LearnerSettings(),  # noqa: B008 - frozen
        guard: GuardSettings = GuardSettings(),  # noqa: B008 - frozen
        control: Control = "none",
        **kwargs: Any,
    ) -> None:
        learner = LearnerSettings(**learner) if isinstance(learner, dict) else learner  # of a checkpoint
        guard = GuardSettings(**guard) if isinstance(guard, dict) else guard
        staged = StagedSettings(**staged) if isinstance(staged, dict) else staged
        samples = SampleSettings(**samples) if isinstance(samples, dict) else samples
        if samples.any and kwargs.get("distinctive", "none") != "none":
            raise ValueError("samples and distinctive do not go together: leave one out.")
        if schedule == "staged" and control == "plain":
            raise ValueError("schedule staged learns a policy, and control plain has none: set schedule to joint.")
        several, smoothing = kwargs.get("multilabel", False), kwargs.get("label_smoothing", 0.0)
        callback = LearnedAugmentation(
            ops,
            classifier="network",
            initial_range=initial_range,
            learner=learner,
            guard=guard,
            policy_path=None,  # `PolicyWriter` writes the policy of a run
            policy=policy,
            ops_per_image=ops_per_image,
            base_policy=base_policy,
            policy_file=policy_file,
            policy_probability=policy_probability,
            schedule=schedule,
            staged=staged,
            samples=samples,
            control=control,
            loss=loss_for(True, smoothing) if several else None,
            label_smoothing=smoothing,
            checked_steps=0,  # this module is known to agree with the learner
            num_classes=kwargs["num_classes"],
            in_channels=kwargs.get("in_channels", 3),
            image_size=image_size,
        )
        super().__init__(**kwargs)
        if several:
            _check_for_several_labels(callback)
        self.learned_augmentation = callback
        self.augnet, self.base = callback.augnet, callback.augmentation.base  # follow the device and the mode
        self.save_hyperparameters()
        self.hparams["policy_file"] = None if policy_file is None else str(Path(expanded(policy_file)).resolve())
        self.hparams.update(learner=asdict(learner), guard=asdict(guard))  # plain: checkpoints load with weights_only
        self.hparams.update(staged=asdict(staged), samples=asdict(samples))
        if callable(self.hparams.get("optimizer")):
            del self.hparams["optimizer"]

    @property
    def control(self) -> Control:
        """The control that this run is, `none` for the method."""
        return self.learned_augmentation.choice.control

    @property
    def learner(self) -> PolicyLearner | None:
        """The learner of the policy; None before training, and where nothing is learned."""
        return self.learned_augmentation.learner

    @property
    def learned(self) -> AugNet[Any, Any] | None:
        """The learned policy, for files and people: its average over the updates; None without a policy."""
        return self.learned_augmentation.learned

    @property
    def samples(self) -> SampleWeights | None:
        """The weights and labels of the training images; None where none are learned."""
        return self.learned_augmentation.samples

    @property
    def staged(self) -> StagedSettings | None:
        """The policy stage of the staged schedule; None where the policy is learned jointly, or not at all."""
        return self.learned_augmentation.staged

    def check_data(self, data: Any) -> None:
        """Raise ValueError unless a policy can be learned on the influence set of this data module."""
        if self.learned_augmentation.uses_influence:
            self.learned_augmentation.check(self, data)

    def configure_callbacks(self) -> list[Callback]:
        """Install the learned augmentation for training; a trainer keeps it, and may train another module later."""
        return [self.learned_augmentation] if self.trainer.state.fn == TrainerFn.FITTING else []

    @torch.no_grad()
    def augment(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A training batch, images in [0, 1], as the classifier gets it: base policy, then learned policy."""
        return self.learned_augmentation.augmented(images, labels)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Classify a batch and return its loss; `LearnedAugmentation` has augmented the batch."""
        return self.loss_of(batch[0], batch[1])

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Build the classifier that a checkpoint holds, also one of version 0.1.0; see `LightningModule`."""
        if isinstance(checkpoint_path, str | Path) and Path(checkpoint_path).is_file():
            checkpoint_path = modernized_file(Path(checkpoint_path), kwargs.get("weights_only"))
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Give the callback its state, so that `learned` is known without a trainer; read version 0.1.0 too.

        Raises:
            ValueError: If the checkpoint is of another kind of labels.
        """
        modernize(checkpoint)
        check_kind_of_labels(checkpoint, self.multilabel)
        if (state := checkpoint.get("callbacks", {}).get(self.learned_augmentation.state_key)) is not None:
            self.learned_augmentation.load_state_dict(state)


def _check_for_several_labels(augmentation: LearnedAugmentation) -> None:
    """Raise ValueError if something is learned, or drawn, by the one label of an image."""
    if augmentation.sample_settings.any:
        raise ValueError(
            "samples: weights and soft labels are learned for one label an image, and the data have several: leave "
            "samples out."
        )
    if augmentation.augnet is not None and augmentation.augnet.policy.num_classes:
        raise ValueError(
            "this policy depends on the one label of an image (class_conditional), and the data have several: take "
            "another policy, for instance ranges or conditional."
        )
