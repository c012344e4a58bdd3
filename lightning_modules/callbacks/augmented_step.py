"""The `training_step` of a LightningModule, with the policy in front of it."""

from copy import deepcopy
from dataclasses import dataclass
from functools import update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn

from lightning_modules.learner.agreement import WatchedStep, is_compiled
from lightning_modules.learner.batch_form import images_and_labels, parts_of, row_numbers, with_images_and_labels
from lightning_modules.learner.feature_capture import FeatureCapture

if TYPE_CHECKING:
    from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation


@dataclass(eq=False)
class AugmentedStep:
    """Hands augmented batches to the `training_step` of one module, whose attribute is replaced until `remove`.

    The class of the module stays as it is, and copies of the module, pickled or not, have their own step. In the first
    `checked_steps` its images and loss are compared with those of the learner. `capture` is the classifier that
    something is learned from, None where nothing is.
    """

    augmentation: "LearnedAugmentation"
    trainer: pl.Trainer
    module: pl.LightningModule
    capture: FeatureCapture | None
    checked_steps: int
    watched: WatchedStep | None = None

    def __post_init__(self) -> None:
        self.unchecked = 0 if is_compiled(self.module) else self.checked_steps
        self.original = self.module.training_step
        self.of_instance = vars(self.module).get("training_step")  # as torch.compile and spies set it
        update_wrapper(self, self.original, updated=())
        self.__wrapped__ = getattr(self.original, "__wrapped__", self.original)  # Lightning asks for its signature
        self.module.training_step = self  # type: ignore[method-assign]

    def __call__(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """Augment the batch and run the module's own step."""
        key, samples, given = self.augmentation.label_key, self.augmentation.samples, batch
        images, labels = images_and_labels(batch, key)
        if samples is not None:
            labels = samples.labels(row_numbers(batch), labels)
        images, targets = self.augmentation.augmented(images, labels)
        batch = with_images_and_labels(batch, images, targets, key)
        if self.capture is None or (samples is None and self.unchecked == 0):
            return self.original(batch, *args, **kwargs)
        if self.unchecked:
            pixels = self.augmentation.normalization.pixels(images)
            self.watched = WatchedStep(self.capture, pixels, targets, parts_of(given))
        try:
            with self.capture.recording() as seen:
                output = self.original(batch, *args, **kwargs)
        finally:
            if self.watched is not None:
                self.watched.stop()
        if self.watched is not None:
            self.unchecked -= 1
            if (warning := self.watched.check_images()) is not None:  # of what may be meant: once
                self.unchecked, self.watched = 0, None
                rank_zero_warn(warning)
        if samples is not None:
            features, logits = seen.features.detach(), seen.logits.detach()
            samples.learn(self.trainer.global_step + 1, row_numbers(given), features, logits, targets)
        return output

    def check_loss(self) -> None:
        """Compare the loss of the step that was watched, after its backward pass; ValueError if it is another one."""
        watched, self.watched = self.watched, None
        if watched is not None:
            watched.check_loss(self.augmentation.loss, self.module)

    def remove(self) -> None:
        """Give the module its own step back."""
        if vars(self.module).get("training_step") is not self:
            return
        del self.module.training_step
        if self.of_instance is not None:
            self.module.training_step = self.of_instance

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """The own step of the copy of the module."""
        if self.of_instance is not None:
            return deepcopy(self.of_instance, memo)
        return _own_step(deepcopy(self.module, memo))

    def __reduce__(self) -> Any:
        """Pickle as the own step of the module."""
        return _same if self.of_instance is not None else _own_step, (self.of_instance or self.module,)


def _own_step(module: pl.LightningModule) -> Any:
    """The step of a module that its class defines."""
    return MethodType(type(module).training_step, module)


def _same(step: Any) -> Any:
    return step
