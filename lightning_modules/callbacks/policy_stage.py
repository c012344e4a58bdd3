"""The policy stage of the staged schedule, at the end of a Lightning training."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
from torch import Tensor

from lightning_modules.learner.batch_form import images_and_labels
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate
from lightning_modules.learner.staged import StagedSettings, learn_staged
from lightning_modules.monitoring.alerts import announce
from lightning_modules.monitoring.policy_metrics import policy_metrics

if TYPE_CHECKING:
    from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation

_PICTURES = 50  # of the strengths of the policy over its updates


def learn_after_training(
    augmentation: "LearnedAugmentation",
    learner: PolicyLearner,
    settings: StagedSettings,
    trainer: pl.Trainer,
    module: pl.LightningModule,
) -> None:
    """Learn the policy against the trained classifier, from the training batches; log to the loggers of the trainer.

    The callback keeps the latest update and the strengths over the updates.
    """

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in cast(Any, trainer.train_dataloader):
            ready = module.on_before_batch_transfer(trainer.precision_plugin.convert_input(batch), 0)
            images, labels = images_and_labels(trainer.strategy.batch_to_device(ready), augmentation.label_key)
            yield augmentation.normalization.pixels(images), labels

    def log(number: int, update: PolicyUpdate) -> None:  # Lightning's own logging is closed by then
        augmentation.last_update, step = update, trainer.global_step + number
        announce(update.event, learner.guard.gave_up, trainer.loggers)
        metrics = policy_metrics(update, learner.result, learner.guard)
        if number % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            for logger in trainer.loggers:
                logger.log_metrics({key: float(value) for key, value in metrics.items()}, step)
        if number % max(settings.steps // _PICTURES, 1) == 0:
            augmentation.staged_strengths[step] = learner.result.policy.shares(learner.augnet.space)

    learn_staged(learner, batches, settings, log)
