"""An image classifier trained with a fixed augmentation policy, or none."""

import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from kornia.enhance import Normalize
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from lightning_modules.classifier.distinctive import DistinctiveLoss, Merge, Penalty
from lightning_modules.classifier.label_kinds import OneLabel, SeveralLabels, loss_for
from lightning_modules.classifier.models import build_model
from lightning_modules.classifier.optimization import (
    LearningRateSchedule,
    check_length,
    check_optimizer,
    check_steps,
    is_finite,
    make_scheduler,
    parameter_groups,
)
from lightning_modules.learner.checks import check_choice, check_numbers, validate_images

_CHECKED_EVERY = 50  # batches


def default_optimizer(parameters: Any) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum: what the CIFAR literature trains with."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)


class Classifier(pl.LightningModule):
    """Training of a classifier on images in [0, 1] by cross-entropy, with several labels an image by a binary one.

    Args:
        num_classes: Number of classes, K; taken from the data.
        in_channels: Channels of the images; taken from the data.
        model: The network: `timm/NAME`, `pytorchcv/NAME`, or the import path of an `nn.Module` class. It must end in
            a linear layer.
        model_kwargs: Further arguments of the network, for instance `{width: 8}` or `{pretrained: true}`.
        optimizer: The classifier's optimizer; its `lr` is the highest of the schedule.
        lr_schedule: Learning rate over the run, step by step: `one_cycle` (warm-up, then cosine to zero), `cosine`
            (to zero), `multi_step` (lower after each milestone) or `constant`.
        lr_milestones: Of `multi_step`: shares of the run, in (0, 1) and increasing, after which the learning rate
            falls, so that a shorter run keeps its shape; `[0.5, 0.75]` are epochs 150 and 225 of 300.
        lr_factor: Of `multi_step`: what the learning rate is multiplied by at each milestone, in (0, 1).
        decay_kernels_only: Whether the optimizer's weight decay is for the weights of convolutions and linear layers
            only, not for biases and normalization layers.
        label_smoothing: Share of the target spread over all classes, in [0, 1); with several labels an image 0.
        pixel_mean: Subtracted from every pixel in front of the network: one number, or one for each channel.
        pixel_std: Every pixel is divided by it after that, > 0: one number, or one for each channel.
        channels_last: Keep images and weights in channels-last order, several times faster on CPUs and tensor cores.
        augmentation: Applied to each training batch, not in evaluation.
        distinctive: For large batches: double the classifier layer and keep the two apart by this penalty, `cosine`,
            `rbf` or `hinge`; `none` leaves the network as it is. See `lightning_modules.classifier.distinctive`.
        distinctive_weight: Factor of that penalty in the loss, >= 0.
        distinctive_merge: How the two layers are averaged while training: `losses` or `logits`.
        multilabel: Whether an image may have several labels, or none; taken from the data. The accuracy is then that of
            all single decisions, at a probability of 1/2.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        model: str = "lightning_modules.classifier.models.SmallConvNet",
        model_kwargs: dict[str, Any] | None = None,
        optimizer: OptimizerCallable = default_optimizer,
        lr_schedule: LearningRateSchedule = "one_cycle",
        lr_milestones: Sequence[float] = (0.5, 0.75),
        lr_factor: float = 0.1,
        decay_kernels_only: bool = False,
        label_smoothing: float = 0.0,
        pixel_mean: float | list[float] = 0.5,
        pixel_std: float | list[float] = 0.25,
        channels_last: bool = True,
        augmentation: nn.Module | None = None,
        distinctive: Penalty = "none",
        distinctive_weight: float = 0.1,
        distinctive_merge: Merge = "losses",
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        if num_classes == 1:
            raise ValueError("the data have one class: a classifier needs images of two or more, in a folder each.")
        check_numbers("", "[0, 1)", label_smoothing=label_smoothing)
        check_numbers("", "[0, 1000]", distinctive_weight=distinctive_weight)
        check_choice("lr_schedule", lr_schedule, LearningRateSchedule)
        check_steps(lr_milestones, lr_factor)
        if multilabel and distinctive != "none":
            raise ValueError(
                f"distinctive is for one label an image, found {distinctive} and data of several: set it to none."
            )
        mean = _per_channel("pixel_mean", pixel_mean, in_channels, "[0, 1]")
        std = _per_channel("pixel_std", pixel_std, in_channels, "[0.001, 10]")
        if set(model_kwargs or {}) & {"num_classes", "in_channels"}:
            raise ValueError("model_kwargs: num_classes and in_channels are those of the data, leave them out.")
        network = build_model(model, num_classes, in_channels, **(model_kwargs or {}))
        self.network = nn.Sequential(Normalize(torch.tensor(mean), torch.tensor(std)), network)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format)
        check_optimizer(optimizer, self.network.parameters())
        self.augmentation = nn.Identity() if augmentation is None else augmentation
        self.augmentation.requires_grad_(False)
        self.num_classes, self.multilabel = num_classes, multilabel
        self.make_optimizer, self.lr_schedule = optimizer, lr_schedule
        self._planned_steps = 0  # of the optimizer in the whole run; callbacks may change the length of a run later
        self.lr_milestones, self.lr_factor = list(lr_milestones), lr_factor
        self.decay_kernels_only = decay_kernels_only
        self.loss, self.label_smoothing = loss_for(multilabel, label_smoothing), label_smoothing
        self.distinctive = None
        if distinctive != "none":
            self.distinctive = DistinctiveLoss(
                self.network, num_classes, distinctive, distinctive_merge, distinctive_weight
            )
        self.labels: OneLabel | SeveralLabels = SeveralLabels(num_classes) if multilabel else OneLabel(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, K]` of images `[B, C, H, W]` in [0, 1]."""
        logits: Tensor = self.network(images.contiguous(memory_format=self.memory_format))
        return logits

    @torch.no_grad()
    def augment(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The training batch as the classifier sees it: images `[B, C, H, W]` in [0, 1], labels `[B]` or `[B, K]`."""
        return self.augmentation(images), labels

    def on_train_start(self) -> None:
        """A run that is resumed must not be longer than its learning rate was planned for."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, LRScheduler):
            check_length(scheduler, self._planned_steps)

    def on_train_batch_start(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Check the first batch before anything is trained on it."""
        if batch_idx == 0 and self.current_epoch == 0:
            images, labels = batch[:2]
            validate_images(images)
            self.labels.check(labels)
            if self.distinctive is not None:
                self.distinctive.check(images)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Augment and classify a batch of images, labels and parts that are not used, and return its loss."""
        return self.loss_of(*self.augment(batch[0], batch[1]))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """At the end of an epoch, and every 50 batches before that: stop a training that has diverged."""
        if self.trainer.is_last_batch or (batch_idx + 1) % _CHECKED_EVERY == 0:
            loss = outputs["loss"] if isinstance(outputs, dict) else outputs
            whole = self.trainer.strategy.reduce_boolean_decision(is_finite(loss, self.network))  # on all ranks alike
            if not whole:
                rates = ", ".join(f"{group['lr']:g}" for one in self.trainer.optimizers for group in one.param_groups)
                raise ValueError(
                    f"the training has diverged: after step {self.trainer.global_step} the loss or the weights of the "
                    f"classifier are not finite, at a learning rate of {rates}. Lower the lr of model.optimizer, or "
                    "set trainer.gradient_clip_val to 1."
                )

    def loss_of(self, images: Tensor, targets: Tensor) -> Tensor:
        """Classify the images of an augmented batch, log loss and accuracy, and return the loss.

        Images are `[B, C, H, W]` in [0, 1], targets `[B]` int64, or `[B, K]` in [0, 1].
        """
        if self.distinctive is None:
            logits = self(images)
            loss: Tensor = self.loss(logits, targets)
        else:
            loss, logits = self.distinctive.of(self, self.loss, images, targets)
        self._log("train", loss, logits, targets)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and metrics on the validation split."""
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of whole splits, and of each class that has validation images, of at most 20 classes."""
        self._log_split("val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and metrics on the test split."""
        self._evaluate("test", batch)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the whole split."""
        self._log_split("test")

    def _log_split(self, stage: str) -> None:
        names = getattr(getattr(self.trainer, "datamodule", None), "class_names", range(self.num_classes))
        self.log_dict(self.labels.compute(stage, names), sync_dist=True)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Class probabilities `[B, K]`."""
        return self.labels.probabilities(self(batch[0]))

    def _evaluate(self, stage: str, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        self.labels.check(labels)
        logits = self(images)
        self._log(stage, self.labels.loss(logits, labels), logits, labels)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # its counts would be compiled anew at every step
    def _log(self, stage: str, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        values: dict[str, Metric | Tensor] = {f"{stage}/loss": loss, **self.labels.update(stage, logits, targets)}
        self.log_dict(values, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(targets))

    def configure_optimizers(self) -> Any:
        """The classifier's optimizer and its schedule; the policy has an optimizer of its own."""
        parameters = parameter_groups(self.network) if self.decay_kernels_only else self.network.parameters()
        optimizer = self.make_optimizer(parameters)
        if self.lr_schedule == "constant":
            return optimizer
        if math.isinf(self.trainer.estimated_stepping_batches):
            raise ValueError(
                f"lr_schedule {self.lr_schedule} needs to know how long the run is: set trainer.max_epochs or "
                "trainer.max_steps, or take lr_schedule constant."
            )
        self._planned_steps = max(int(self.trainer.estimated_stepping_batches), 1)
        scheduler = make_scheduler(self.lr_schedule, optimizer, self._planned_steps, self.lr_milestones, self.lr_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _per_channel(name: str, value: float | list[float], channels: int, interval: str) -> list[float]:
    values = list(value) if isinstance(value, Sequence) else [value] * channels
    for one in values:
        check_numbers("", interval, **{name: one})
    if len(values) != channels:
        raise ValueError(f"{name} must be one number or {channels} (one for each channel), found {value}.")
    return values
