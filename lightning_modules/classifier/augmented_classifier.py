"""Classifier, augmentation network and influence, trained jointly."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from augnet import AugNet, load_policy
from augnet.baselines import Baseline, MixingBaseline, make_baseline
from lightning_modules.callbacks.policy_training import PolicyTraining
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import InfluenceDataModule, validate_images, wrong_domain
from lightning_modules.learner.checks import check_choice, check_labels, warn_of_missing_classes
from lightning_modules.learner.feature_capture import FeatureCapture, find_last_linear
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.policy_choice import PolicyName, build_policy, check_fit
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate, check_estimator
from lightning_modules.learner.ranks import Ranks, draw
from lightning_modules.learner.sample_weights import SampleSettings, SampleWeights
from lightning_modules.learner.settings import Corruption, LearnerSettings
from lightning_modules.learner.staged import StagedSettings, learn_staged
from lightning_modules.learner.targets import as_probabilities, behind, smoothed

Control = Literal["none", "plain", "uniform", "shuffled", "flipped", "identity_hessian", "wrong_domain"]
Schedule = Literal["joint", "staged"]
_STATE, _SAMPLES = "policy_learner", "sample_weights"
_PICTURES = 50  # of the strengths of a staged policy over its updates
SettingsT = TypeVar("SettingsT", LearnerSettings, GuardSettings, StagedSettings, SampleSettings)


class _PolicyStep(Callback):
    """A kind of its own: Lightning lets the callbacks of a module take the place of those of the same kind."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the policy, if it is time."""
        if isinstance(pl_module, AugmentedClassifier):
            pl_module.after_step(batch)


class AugmentedClassifier(Classifier):
    """A classifier whose augmentation policy is learned while it trains.

    Each training batch passes through the base policy and the learned policy to the classifier. Every few steps
    the learner moves the policy so that the loss on the influence set is predicted to fall.

    Args:
        ops: What the learned policy may do: a list of op names, or a mapping from op name to its bound, the largest
            magnitude in the op's unit. Units and names: see the README.
        policy: What is learned. `ranges`: one range for each op, all ops on every image. `intervals`: the same with two
            ends, for a deployment that lies on one side, as one that is always brighter. `mixture`: how often each op
            is taken and how strongly, from uniform over `ops` on; `trivial_augment_mixture`: the same from
            TrivialAugment-Wide on, whose ops replace `ops`. `conditional`: ranges for each image, from an encoder
            network. `class_conditional`: ranges for each class. `field`: the paper's own network, a displacement and a
            colour filter for every pixel instead of `ops`.
        ops_per_image: Ops that a mixture does to each image, 1 or 2.
        initial_range: Ranges at the start, as a fraction of the bounds, in (0, 1]. At 0 there would be no gradient.
            Mixtures and `field` have none.
        image_size: Height and width of the images in pixels, which `field` needs; taken from the data.
        base_policy: A fixed policy in front of the learned one: `none`, the name of a baseline (`flip_crop`,
            `trivial_augment`, `rand_augment`, `auto_augment`, `augmix`, `cutout`, `mixup`, `cutmix`), or several
            joined by `+`, for instance `flip_crop+trivial_augment`; the last two can only be the last.
            `rand_augment:5` has a magnitude of 5 (0 to 30) instead of 9.
        policy_file: A saved policy to train with, frozen, instead of learning one; its ops replace `ops`.
        policy_probability: Share of the training images that pass the learned policy, in [0, 1]; the others pass the
            base policy alone.
        schedule: `joint` learns policy and classifier together. `staged` is the paper's: the classifier trains behind
            the base policy alone, the policy is then learned against it with a single solve for S; `train.py fit` goes
            on with a fresh classifier behind the learned policy.
        staged: The policy stage of `staged`.
        samples: Weights and soft labels of the training images, learned from the influence set too; off by default.
        learner: How the policy is learned.
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
        check_choice("control", control, Control)
        check_choice("policy", policy, PolicyName)
        check_choice("schedule", schedule, Schedule)
        if not 0 <= policy_probability <= 1:
            raise ValueError(f"policy_probability must lie in [0, 1], found {policy_probability}.")
        if policy_file is not None and control != "none":
            raise ValueError(f"policy_file fixes the policy: control must be none, found {control!r}.")
        if policy_file is not None and not Path(policy_file).is_file():
            raise FileNotFoundError(f"policy_file: there is no file {policy_file}.")
        base = _base(base_policy)
        in_channels, num_classes = kwargs.get("in_channels", 3), kwargs["num_classes"]
        augnet: AugNet[Any, Any]
        if policy_file is not None:
            augnet = load_policy(policy_file)
        else:
            augnet = build_policy(
                policy,
                ops,
                initial_range=initial_range,
                ops_per_image=ops_per_image,
                in_channels=in_channels,
                num_classes=num_classes,
                image_size=image_size,
                uniform=control == "uniform",
            )
        check_fit(augnet, in_channels, num_classes, image_size)
        learned = [] if control == "plain" else [augnet]
        super().__init__(augmentation=nn.Sequential(base or nn.Identity(), *learned), **kwargs)
        learner, guard = _settings(LearnerSettings, learner), _settings(GuardSettings, guard)
        staged, samples = _settings(StagedSettings, staged), _settings(SampleSettings, samples)
        self.save_hyperparameters()
        self.hparams["policy_file"] = None if policy_file is None else str(Path(policy_file).resolve())
        self.hparams.update(learner=asdict(learner), guard=asdict(guard))  # plain: checkpoints load with weights_only
        self.hparams.update(staged=asdict(staged), samples=asdict(samples))
        if callable(self.hparams.get("optimizer")):
            del self.hparams["optimizer"]
        self.augnet = None if control == "plain" else augnet
        self.base, self.control, self.policy_probability = base, control, policy_probability
        self.learns = policy_file is None and control not in ("plain", "uniform")
        self.staged = staged if self.learns and schedule == "staged" else None
        if self.staged is not None:
            self.staged.check(augnet, base is not None)
            learner = replace(learner, refresh=0)
        self.policy_training = PolicyTraining(augnet, learner, guard)
        self.sample_settings, self.samples = samples, cast(SampleWeights | None, None)
        self._resumed_samples: dict[str, Any] | None = None
        self._check_samples()
        self.staged_strengths: dict[int, dict[str, float]] = {}

    def _check_samples(self) -> None:
        """Raise ValueError if weights or labels are asked for that cannot be learned."""
        mixes = isinstance(self.base, MixingBaseline) or (self.augnet is not None and self.augnet.space.mixes)
        if self.sample_settings.any and mixes:
            raise ValueError("samples: images that are mixed have no weight or label of their own: leave mixing out.")
        if self.sample_settings.any and self.twin is not None:
            raise ValueError("samples and distinctive do not go together: leave one out.")

    @property
    def learner(self) -> PolicyLearner | None:
        """The learner of the policy; None before training, and where nothing is learned."""
        return self.policy_training.learner

    @property
    def last_update(self) -> PolicyUpdate | None:
        """What the latest policy update saw."""
        return self.policy_training.last_update

    @property
    def learned(self) -> AugNet[Any, Any] | None:
        """What the run has learned, for files and people: the average of the policy; None without a policy."""
        return None if self.augnet is None else self.policy_training.result

    @torch.no_grad()
    def augment(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The training batch as the classifier sees it: base policy, then learned policy.

        Args:
            images: `[B, C, H, W]` in [0, 1].
            labels: `[B]`.

        Returns:
            Images `[B, C, H, W]` in [0, 1]; the labels, as probabilities `[B, K]` if images were mixed.
        """
        images, targets = behind(self.base, images, labels, self.num_classes)
        if self.augnet is None or self.staged is not None or self.policy_probability == 0:
            return images, targets
        if self.augnet.space.mixes:
            targets = as_probabilities(targets, self.num_classes)
        draws = draw(self.augnet, images, self.policy_training.ranks)
        augmented: tuple[Tensor, Tensor] = self.augnet(images, targets, draws=draws)
        return augmented if self.policy_probability == 1 else self._chosen(augmented, (images, targets))

    def _chosen(self, augmented: tuple[Tensor, Tensor], originals: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The augmented ones of `policy_probability` of the pairs of image and target, drawn one by one."""
        chosen = torch.rand(len(augmented[0]), device=augmented[0].device) < self.policy_probability

        def mixed(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(chosen.view(-1, *[1] * (new.ndim - 1)), new, old)

        return mixed(augmented[0], originals[0]), mixed(augmented[1], originals[1])

    def check_data(self, data: Any) -> None:
        """Raise ValueError unless a policy can be learned on this data; leave everything as it is.

        Args:
            data: A data module with `influence_set() -> (images, labels)`.
        """
        if self.learns:
            check_estimator(self.policy_training.augnet, self.policy_training.settings)
        if self.learns or self.sample_settings.any:
            find_last_linear(self.network, self._influence_set(data)[0][:2])

    def on_fit_start(self) -> None:
        """Find the head and build the learner; what is wrong is said here, before training."""
        super().on_fit_start()
        if not self.learns and not self.sample_settings.any:
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        influence_set = self._prepared(data)
        capture = FeatureCapture(self.network, find_last_linear(self.network, influence_set[0][:2]))
        if self.learns:
            self._begin_policy(capture, influence_set)
        if self.sample_settings.any:
            self._begin_samples(capture, influence_set, data)

    def _begin_policy(self, capture: FeatureCapture, influence_set: tuple[Tensor, Tensor]) -> None:
        if next(self.policy_training.augnet.parameters()).dtype.itemsize < 4:
            raise ValueError(
                f"the policy is learned in float32: set trainer.precision to bf16-mixed, found "
                f"{self.trainer.precision}."
            )
        self.policy_training.begin(
            self.trainer,
            capture,
            influence_set,
            base=self.base,
            corruption=cast(Corruption, self.control),  # plain and uniform were left out above
            label_smoothing=self.loss.label_smoothing,
        )

    def _begin_samples(self, capture: FeatureCapture, influence_set: tuple[Tensor, Tensor], data: Any) -> None:
        if not isinstance(data, InfluenceDataModule):
            raise ValueError(
                "samples: weights and soft labels need to know which image is which: expected a data module derived "
                f"from InfluenceDataModule, found {type(data).__name__}."
            )
        check_labels(data.training_images.labels, self.num_classes)
        self.samples = SampleWeights(
            self.sample_settings,
            data.training_images.labels,
            capture,
            influence_set,
            self.policy_training.settings,
            Ranks.everyone(self.trainer.world_size),
            self.trainer.precision_plugin.forward_context,
        )
        if self._resumed_samples is not None:
            self.samples.load_state_dict(self._resumed_samples)
            self._resumed_samples = None

    def on_train_start(self) -> None:
        """Steps of a resumed run count from where it goes on."""
        super().on_train_start()
        self.policy_training.start(self.trainer)
        self._rotate()

    def on_train_epoch_start(self) -> None:
        """With cross-fitting, another fold may be the influence set; images are drawn by their weights."""
        self._rotate()

    def _rotate(self) -> None:
        """Take the influence set of this epoch; where nothing is learned from it any more, none is held back."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, InfluenceDataModule):
            return
        users: list[PolicyLearner | SampleWeights] = [] if self.samples is None else [self.samples]
        if self.learner is not None and not self.learner.finished:
            users.append(self.learner)
        if not users:
            data.release()
        if data.rotate(self.current_epoch) and users:
            influence_set = self._prepared(data)
            for user in users:
                user.influence.influence_set = influence_set
        if self.samples is not None and self.samples.settings.weights:
            self.samples.counts.copy_(data.draw(self.samples.agreed_weights()))

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """As that of `Classifier`; weights and labels of the images are learned on the way, where they are."""
        if self.samples is None:
            return super().training_step(batch, batch_idx)
        images, labels, rows = batch
        with self.samples.capture.recording() as seen:
            views, targets = self.augment(images, self.samples.labels(rows, labels))
            logits = self(views)
        loss: Tensor = self.loss(logits, targets)
        self._log("train", loss, logits, labels)
        targets = smoothed(targets, logits, self.loss.label_smoothing)
        self.samples.learn(self.global_step + 1, rows, seen.features.detach(), logits.detach(), targets)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log how far the weights and labels have moved."""
        if self.samples is not None:
            self.log_dict(self.samples.metrics())

    def on_train_end(self) -> None:
        """In the staged schedule, learn the policy against the trained classifier."""
        if self.staged is not None and self.learner is not None and not self.trainer.interrupted:
            learn_staged(self.learner, self._batches, self.staged, self._log_update)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The training batches of an epoch, on the device; with weights those that the last epoch drew."""
        for batch in self.trainer.train_dataloader:  # type: ignore[union-attr]
            images, labels = self.trainer.precision_plugin.convert_input(batch[:2])
            yield images.to(self.device), labels.to(self.device)

    def _log_update(self, number: int, update: PolicyUpdate) -> None:
        """Log an update of the policy stage; Lightning's own logging is closed by then."""
        staged, learned = cast(StagedSettings, self.staged), cast(AugNet[Any, Any], self.learned)
        found = self.policy_training.record(self.trainer, update)
        if number % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            metrics = {key: float(value) for key, value in found.items()}
            for logger in self.trainer.loggers:
                logger.log_metrics(metrics, self.global_step + number)
        if number % max(staged.steps // _PICTURES, 1) == 0:
            self.staged_strengths[self.global_step + number] = learned.policy.shares(learned.space)

    def _influence_set(self, data: Any) -> tuple[Tensor, Tensor]:
        if data is None or not hasattr(data, "influence_set"):
            raise ValueError(
                "learning a policy needs an influence set: expected a data module with influence_set() -> "
                f"(images, labels), found {type(data).__name__}."
            )
        images, labels = data.influence_set()
        if len(labels) == 0:
            raise ValueError("the influence set is empty: give it at least one image of every class.")
        validate_images(images)
        check_labels(labels, self.num_classes)
        warn_of_missing_classes(labels, self.num_classes)
        if self.control == "wrong_domain":
            images = wrong_domain(images)
        return images.to(self.device), labels.to(self.device)

    def _prepared(self, data: Any) -> tuple[Tensor, Tensor]:
        """The influence set in the precision and the memory format of the network."""
        images, labels = self.trainer.precision_plugin.convert_input(self._influence_set(data))
        return images.contiguous(memory_format=self.memory_format), labels

    def configure_callbacks(self) -> list[Callback]:
        """The policy update comes before any checkpoint of the same step, which a hook of the module would not."""
        if self.staged is not None:
            return []
        return [_PolicyStep()]

    def after_step(self, batch: Any) -> None:
        """Every few steps, one policy update on the batch that was just trained on."""

        def latest() -> tuple[Tensor, Tensor]:
            images, labels = batch[:2]
            return images, labels if self.samples is None else self.samples.labels(batch[2], labels)

        self.policy_training.after_step(self.trainer, self, latest)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the learner and of the tables of weights and labels."""
        if self.learner is not None:
            checkpoint[_STATE] = self.policy_training.state_dict()
        if self.samples is not None:
            checkpoint[_SAMPLES] = self.samples.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep these states until what they belong to is built."""
        self._resumed_samples = checkpoint.get(_SAMPLES)
        self.policy_training.load_state_dict(checkpoint.get(_STATE))


def _base(name: str) -> Baseline | MixingBaseline | None:
    """The policy in front of the learned one, None for `none`."""
    return None if name == "none" else make_baseline(name)


def _settings(kind: type[SettingsT], value: Any) -> SettingsT:
    """The settings, also from the dictionary that a checkpoint holds."""
    return kind(**value) if isinstance(value, dict) else value
