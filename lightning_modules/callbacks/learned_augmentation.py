"""Learned augmentation for anybody's LightningModule: a callback, and no edit to the module."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from kornia.enhance import Normalize
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import DataLoader

from augnet import AugNet, save_policy
from lightning_modules.callbacks.policy_training import PolicyTraining
from lightning_modules.learner.checks import check_labels, validate_images, warn_of_missing_classes
from lightning_modules.learner.feature_capture import FeatureCapture, find_last_linear
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.policy_choice import check_fit
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate
from lightning_modules.learner.ranks import draw
from lightning_modules.learner.settings import LearnerSettings

_IMAGE_KEYS = ("image", "images", "pixel_values", "x")
_LABEL_KEYS = ("label", "labels", "target", "y")


class LearnedAugmentation(pl.Callback):
    """Augments every training batch of a LightningModule, and learns how while it trains.

    Batches are `(images, labels, ...)`, or dictionaries with an image and a label; the module's `training_step` gets
    them with augmented images. The module may do what it likes with them, its own manual optimisation included. It,
    or the part of it that `classifier` names, must map images to logits and end in a linear layer.

    Args:
        ops: What the policy may do: op names, or a mapping from op name to its bound; see the README.
        influence: The influence set: images that look like deployment with their labels, as a DataLoader or as two
            tensors, prepared in the same way as the training batches.
        classifier: Name of the attribute of the module that maps images to logits, for instance `"model"`; by default
            the module itself.
        initial_range: Ranges at the start, as a fraction of the bounds, in (0, 1].
        learner: How the policy is learned.
        guard: When the policy is rolled back to its last healthy state.
        pixel_mean: What the data loader already subtracted from images in [0, 1]: a number, or one for each channel.
        pixel_std: By what it divided them after that.
        policy_path: Where the policy is written after every epoch; by default `policy.json` in the trainer's folder.

    Example:
        >>> images, labels = torch.rand(8, 1, 16, 16), torch.arange(8) % 2
        >>> augmentation = LearnedAugmentation(["rotation", "scale"], influence=(images, labels))
        >>> trainer = pl.Trainer(callbacks=[augmentation], logger=False, enable_checkpointing=False)
    """

    def __init__(
        self,
        ops: Sequence[str] | Mapping[str, float],
        influence: DataLoader | tuple[Tensor, Tensor],
        classifier: str | None = None,
        initial_range: float = 0.1,
        learner: LearnerSettings = LearnerSettings(),  # noqa: B008 - frozen
        guard: GuardSettings = GuardSettings(),  # noqa: B008 - frozen
        pixel_mean: float | Sequence[float] = 0.0,
        pixel_std: float | Sequence[float] = 1.0,
        policy_path: str | Path | None = None,
    ) -> None:
        self.augnet = AugNet.from_ops(ops, initial_range).requires_grad_(False)
        self.policy_training = PolicyTraining(self.augnet, learner, guard)
        self.influence, self.classifier = influence, classifier
        self.normalise = Normalize(torch.as_tensor(pixel_mean), torch.as_tensor(pixel_std))
        self.policy_path = policy_path
        self._wrapped = False
        self._own_step: Callable[..., Any] | None = None  # a `training_step` of the instance, as torch.compile sets it

    @property
    def learner(self) -> PolicyLearner | None:
        """The learner of the policy; None before training."""
        return self.policy_training.learner

    @property
    def learned(self) -> AugNet[Any, Any]:
        """What has been learned, for files and people: the average of the policy over its updates."""
        return self.policy_training.result

    @property
    def last_update(self) -> PolicyUpdate | None:
        """What the latest policy update saw."""
        return self.policy_training.last_update

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the head, build the learner, put the policy in front of `training_step`.

        Raises:
            ValueError: If the module has no such classifier, it does not end in a linear layer, or the influence set
                is empty or not what it should be.
        """
        self.augnet.to(pl_module.device)
        self.normalise.to(pl_module.device)
        images, labels = self._influence_set(trainer, pl_module)
        model = nn.Sequential(self.normalise, self._classifier(pl_module))
        head = find_last_linear(model, images[:2])
        check_labels(labels, head.out_features)
        warn_of_missing_classes(labels, head.out_features)
        check_fit(self.augnet, images.shape[1], head.out_features)
        if self.augnet.space.mixes:
            raise ValueError(
                "ops: cutmix and mixup mix labels too, and the training_step of others expects class numbers: leave "
                "them out of the ops. train.py learns them."
            )
        self.policy_training.begin(trainer, FeatureCapture(model, head), (images, labels))
        self._wrap(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Steps of a resumed run count from where it goes on."""
        self.policy_training.start(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Every few steps, one policy update on the batch that was just trained on."""

        def pixels() -> tuple[Tensor, Tensor]:
            images, labels = _split(batch)
            return self._pixels(images), labels

        self.policy_training.after_step(trainer, pl_module, pixels)

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the policy file."""
        save_policy(self.learned, self.policy_path or Path(trainer.default_root_dir) / "policy.json")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the module as it was."""
        self._unwrap(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the module as it was."""
        self._unwrap(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The policy and all that its learning needs; tensors and numbers only."""
        return {"policy": self.augnet.state_dict(), "learner": self.policy_training.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.augnet.load_state_dict(state_dict["policy"])
        self.policy_training.load_state_dict(state_dict["learner"])

    def _wrap(self, module: pl.LightningModule) -> None:
        """Hand augmented batches to `training_step`; an attribute of this instance, the class stays as it is."""
        original = module.training_step
        self._wrapped, self._own_step = True, vars(module).get("training_step")

        def training_step(batch: Any, *args: Any, **kwargs: Any) -> Any:
            images, labels = _split(batch)
            with torch.no_grad():
                pixels = self._pixels(images)
                draws = draw(self.augnet, pixels, self.policy_training.ranks)
                augmented = self.normalise(self.augnet.train()(pixels, labels, draws=draws)[0])
            return original(_replaced(batch, augmented.to(images.dtype)), *args, **kwargs)

        module.training_step = training_step  # type: ignore[method-assign]

    def _unwrap(self, module: pl.LightningModule) -> None:
        if self._wrapped:
            del module.training_step
            if self._own_step is not None:
                module.training_step = self._own_step  # type: ignore[method-assign]
            self._wrapped, self._own_step = False, None

    def _undone(self, images: Tensor) -> Tensor:
        """Images without the normalisation of the data loader; in [0, 1] up to rounding, if that was as stated."""
        mean, std = (value.to(images).view(-1, 1, 1) for value in (self.normalise.mean, self.normalise.std))
        pixels: Tensor = images * std + mean
        return pixels

    def _pixels(self, images: Tensor) -> Tensor:
        """Images in [0, 1], as the policy takes them."""
        return self._undone(images).clamp(0, 1)

    def _classifier(self, module: pl.LightningModule) -> nn.Module:
        if self.classifier is None:
            return module
        found = getattr(module, self.classifier, None)
        if not isinstance(found, nn.Module):
            parts = [name for name, _ in module.named_children()]
            raise ValueError(
                f"classifier: {type(module).__name__} has no module {self.classifier!r}; it has {', '.join(parts)}."
            )
        return found

    def _influence_set(self, trainer: pl.Trainer, module: pl.LightningModule) -> tuple[Tensor, Tensor]:
        batches = [self.influence] if isinstance(self.influence, tuple) else [_split(one) for one in self.influence]
        if not batches or len(batches[0][1]) == 0:
            raise ValueError("influence: the influence set is empty: give it at least one image of every class.")
        images, labels = (torch.cat(column) for column in zip(*batches, strict=True))
        validate_images(self._undone(images))
        images, labels = trainer.precision_plugin.convert_input((self._pixels(images), labels))
        return images.to(module.device), labels.to(module.device)


def _split(batch: Any) -> tuple[Tensor, Tensor]:
    """Images and labels of a batch.

    Raises:
        ValueError: If it is neither `(images, labels, ...)` nor a dictionary with both.
    """
    if isinstance(batch, Mapping):
        images = next((batch[key] for key in _IMAGE_KEYS if key in batch), None)
        labels = next((batch[key] for key in _LABEL_KEYS if key in batch), None)
        if images is not None and labels is not None:
            return images, labels
        raise ValueError(
            f"expected a batch with an image ({', '.join(_IMAGE_KEYS)}) and a label ({', '.join(_LABEL_KEYS)}), "
            f"found the keys {', '.join(map(str, batch))}."
        )
    if isinstance(batch, Sequence) and len(batch) >= 2 and isinstance(batch[0], Tensor):
        return batch[0], batch[1]
    raise ValueError(f"expected batches (images, labels, ...) or dictionaries, found a {type(batch).__name__}.")


def _replaced(batch: Any, images: Tensor) -> Any:
    """The batch with other images; its own container is left as it is."""
    if isinstance(batch, Mapping):
        key = next(key for key in _IMAGE_KEYS if key in batch)
        return {**batch, key: images}
    rest = list(batch[1:])
    return (images, *rest) if isinstance(batch, tuple) else [images, *rest]
