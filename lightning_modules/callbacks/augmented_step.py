"""The `training_step` of a LightningModule, with the policy in front of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor

from lightning_modules.learner.agreement import FirstInputs, LossAgreement, is_compiled
from lightning_modules.learner.batch_form import images_and_labels, parts_of, row_numbers, with_images_and_labels
from lightning_modules.learner.feature_capture import FeatureCapture, Recording
from lightning_modules.learner.targets import smoothed

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

    def __post_init__(self) -> None:
        self.unchecked = 0 if is_compiled(self.module) else self.checked_steps
        self.original, self.loss = self.module.training_step, LossAgreement(self.augmentation.label_smoothing)
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
        first = None
        if self.unchecked:
            first = FirstInputs(self.capture.model, self.augmentation.normalization.pixels(images))
        try:
            with self.capture.recording() as seen:
                output = self.original(batch, *args, **kwargs)
        finally:
            if first is not None:
                first.stop()
        if first is not None:
            self.unchecked -= 1
            self._warn(first.check(), self._check_loss(output, seen, given, targets))
        if samples is not None:
            features, logits = seen.features.detach(), seen.logits.detach()
            targets = smoothed(targets, logits, self.augmentation.label_smoothing)
            samples.learn(self.trainer.global_step + 1, row_numbers(given), features, logits, targets)
        return output

    def _check_loss(self, output: Any, seen: Recording, batch: Any, targets: Tensor) -> str | None:
        """Compare the loss of a step with that of the learner, if the step returned one."""
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if not isinstance(loss, Tensor) or loss.ndim > 0 or not seen.passes:
            return None
        return self.loss.check(loss, seen.passes[0][1], targets, parts_of(batch))

    def _warn(self, *warnings: str | None) -> None:
        """Warn of differences that may be meant, once."""
        for warning in filter(None, warnings):
            self.unchecked = 0
            rank_zero_warn(warning)

    def remove(self) -> None:
        """Give the module its own step back."""
        if vars(self.module).get("training_step") != self.run:
            return
        del self.module.training_step
        if self.of_instance is not None:
            self.module.training_step = self.of_instance  # type: ignore[method-assign]
