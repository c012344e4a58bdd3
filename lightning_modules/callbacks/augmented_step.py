"""The `training_step` of a LightningModule, with the policy in front of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature

from lightning_modules.learner.agreement import WatchedStep, is_compiled
from lightning_modules.learner.batch_form import images_and_labels, parts_of, row_numbers, with_images_and_labels
from lightning_modules.learner.feature_capture import FeatureCapture

if TYPE_CHECKING:
    from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation


@dataclass(eq=False)
class AugmentedStep:
    """Hands augmented batches to the `training_step` of one module, whose attribute is replaced until `remove`.

    The class of the module stays as it is. In the first `checked_steps` its images and loss are compared with those of
    the learner. `capture` is the classifier that something is learned from, None where nothing is.
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
        self.takes_index = is_param_in_hook_signature(self.original, "batch_idx", min_args=2)
        self.module.training_step = self.run  # type: ignore[method-assign]

    def run(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """Augment the batch and run the module's own step."""
        if not self.takes_index:  # Lightning asks the signature of this method, which takes all
            args, kwargs = (), {name: value for name, value in kwargs.items() if name != "batch_idx"}
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
        if vars(self.module).get("training_step") != self.run:
            return
        del self.module.training_step
        if self.of_instance is not None:
            self.module.training_step = self.of_instance  # type: ignore[method-assign]
