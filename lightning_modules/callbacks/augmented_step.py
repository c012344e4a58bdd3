"""The `training_step` of a LightningModule, with the policy in front of it."""

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from lightning_modules.learner.batch_form import images_and_labels, row_numbers, with_images_and_labels
from lightning_modules.learner.targets import smoothed

if TYPE_CHECKING:
    from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation


class AugmentedStep:
    """Hands augmented batches to the `training_step` of one module; the class of the module stays as it is.

    Args:
        augmentation: Augments the batches, and learns weights and labels of their images where it does.
        trainer: Counts the steps.
        module: Its attribute `training_step` is replaced until `remove`.
    """

    def __init__(self, augmentation: "LearnedAugmentation", trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.augmentation, self.trainer, self.module = augmentation, trainer, module
        self.original = module.training_step
        self.of_instance = vars(module).get("training_step")  # as torch.compile and spies set it
        module.training_step = self.run  # type: ignore[method-assign]

    def run(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """Augment the batch and run the module's own step."""
        images, labels = images_and_labels(batch)
        samples = self.augmentation.samples
        if samples is None:
            return self.original(
                with_images_and_labels(batch, *self.augmentation.augmented(images, labels)), *args, **kwargs
            )
        rows = row_numbers(batch)
        images, targets = self.augmentation.augmented(images, samples.labels(rows, labels))
        with samples.capture.recording() as seen:
            output = self.original(with_images_and_labels(batch, images, targets), *args, **kwargs)
        features, logits = seen.features.detach(), seen.logits.detach()
        targets = smoothed(targets, logits, self.augmentation.label_smoothing)
        samples.learn(self.trainer.global_step + 1, rows, features, logits, targets)
        return output

    def remove(self) -> None:
        """Give the module its own step back."""
        if vars(self.module).get("training_step") != self.run:
            return
        del self.module.training_step
        if self.of_instance is not None:
            self.module.training_step = self.of_instance  # type: ignore[method-assign]
