"""Classifier, augmentation network and influence, trained jointly."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import Callback, LambdaCallback
from torch import Tensor, nn

from augnet import AugNet, load_policy
from augnet.baselines import Baseline, MixingBaseline, make_baseline
from lightning_modules.classifier import Classifier, check_choice
from lightning_modules.data.checks import check_labels, validate_images, warn_of_missing_classes
from lightning_modules.feature_capture import FeatureCapture, find_last_linear
from lightning_modules.guard import GuardSettings
from lightning_modules.learner import Corruption, LearnerSettings, PolicyLearner, PolicyUpdate, check_estimator
from lightning_modules.policy_choice import PolicyName, build_policy, check_fit
from lightning_modules.ranks import Ranks, draw
from lightning_modules.targets import as_probabilities, behind
from lightning_modules.update_log import is_training, update_policy

Control = Literal["none", "plain", "uniform", "shuffled", "flipped", "identity_hessian"]
_STATE = "policy_learner"
SettingsT = TypeVar("SettingsT", LearnerSettings, GuardSettings)


class AugmentedClassifier(Classifier):
    """A classifier whose augmentation policy is learned while it trains.

    Each training batch passes through the base policy and the learned policy to the classifier. Every few steps
    the learner moves the policy so that the loss on the influence set is predicted to fall.

    Args:
        ops: What the learned policy may do: a list of op names, or a mapping from op name to its bound, the largest
            magnitude in the op's unit. Units and names: see the README.
        policy: What is learned. `ranges`: one range for each op, all ops on every image. `mixture`: how often each op
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
            joined by `+`, for instance `flip_crop+trivial_augment`; the last two stand alone.
        policy_file: A saved policy to train with, frozen, instead of learning one; its ops replace `ops`.
        learner: How the policy is learned.
        guard: When a policy that is being learned is rolled back to its last healthy state.
        control: `none` is the method. `plain` has no policy at all, `uniform` draws uniformly up to the bounds of the
            same ops, for a mixture as it does at its start; `field` has none. The others spoil the influence and should
            do worse: `shuffled` (each image is scored by the error of another), `flipped` (its sign),
            `identity_hessian` (no curvature).
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
        learner: LearnerSettings = LearnerSettings(),  # noqa: B008 - frozen
        guard: GuardSettings = GuardSettings(),  # noqa: B008 - frozen
        control: Control = "none",
        **kwargs: Any,
    ) -> None:
        check_choice("control", control, Control)
        check_choice("policy", policy, PolicyName)
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
        self.save_hyperparameters()
        self.hparams["policy_file"] = None if policy_file is None else str(Path(policy_file).resolve())
        self.hparams.update(learner=asdict(learner), guard=asdict(guard))  # plain: checkpoints load with weights_only
        if callable(self.hparams.get("optimizer")):
            del self.hparams["optimizer"]
        self.augnet = None if control == "plain" else augnet
        self.base, self.control, self.settings, self.guard = base, control, learner, guard
        self.learns = policy_file is None and control not in ("plain", "uniform")
        self.learner: PolicyLearner | None = None
        self.last_update: PolicyUpdate | None = None
        self._resumed: dict[str, Any] | None = None
        self._latest_step = 0
        self.ranks = Ranks()

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
        if self.augnet is None:
            return images, targets
        if self.augnet.space.mixes:
            targets = as_probabilities(targets, self.num_classes)
        augmented: tuple[Tensor, Tensor] = self.augnet(images, targets, draws=draw(self.augnet, images, self.ranks))
        return augmented

    def check_data(self, data: Any) -> None:
        """Raise ValueError unless a policy can be learned on this data; leave everything as it is.

        Args:
            data: A data module with `influence_set() -> (images, labels)`.
        """
        if self.learns and self.augnet is not None:
            check_estimator(self.augnet, self.settings)
            find_last_linear(self.network, self._influence_set(data)[0][:2])

    def on_fit_start(self) -> None:
        """Find the head and build the learner; what is wrong is said here, before training."""
        super().on_fit_start()
        if not self.learns or self.augnet is None:
            return
        if next(self.augnet.parameters()).dtype.itemsize < 4:
            raise ValueError(
                f"the policy is learned in float32: set trainer.precision to bf16-mixed, found "
                f"{self.trainer.precision}."
            )
        self.ranks = Ranks(dist.group.WORLD if self.trainer.world_size > 1 else None)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        images, labels = self.trainer.precision_plugin.convert_input(self._influence_set(data))
        head = find_last_linear(self.network, images[:2])
        self.learner = PolicyLearner(
            self.augnet,
            FeatureCapture(self.network, head),
            (images.contiguous(memory_format=self.memory_format), labels),
            self.settings,
            base=self.base,
            corruption=cast(Corruption, self.control),  # plain and uniform were left out above
            label_smoothing=self.loss.label_smoothing,
            guard=self.guard,
            ranks=self.ranks,
            forward_context=self.trainer.precision_plugin.forward_context,
            seed=torch.initial_seed() % 2**63,
        )
        if self._resumed is not None:
            self.learner.load_state_dict(self._resumed)
            self._resumed = None

    def on_train_start(self) -> None:
        """Steps of a resumed run count from where it goes on."""
        self._latest_step = self.global_step

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
        return images.to(self.device), labels.to(self.device)

    def configure_callbacks(self) -> list[Callback]:
        """The policy update comes before any checkpoint of the same step, which a hook of the module would not."""
        return [LambdaCallback(on_train_batch_end=lambda trainer, module, outputs, batch, _: self._after_step(batch))]

    def _after_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Every few steps, one policy update on the batch that was just trained on."""
        stepped, self._latest_step = self.global_step != self._latest_step, self.global_step
        stepped = stepped and is_training(self.trainer)
        if self.learner is not None and stepped and self.learner.due(self.global_step):
            self.last_update = update_policy(self.learner, self, *batch)  # not stepped: gradients are accumulated

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the learner's state."""
        if self.learner is not None:
            checkpoint[_STATE] = self.learner.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the learner's state until the learner is built."""
        self._resumed = checkpoint.get(_STATE)


def _base(name: str) -> Baseline | MixingBaseline | None:
    """The policy in front of the learned one, None for `none`."""
    return None if name == "none" else make_baseline(name)


def _settings(kind: type[SettingsT], value: Any) -> SettingsT:
    """The settings, also from the dictionary that a checkpoint holds."""
    return kind(**value) if isinstance(value, dict) else value
