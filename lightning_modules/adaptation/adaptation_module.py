"""Stochastic training of a classifier on the K-prior objective of `influence.k_priors.prior`.

The sum over points is divided by the sum of their counts, so that learning rates have the scale of ordinary training.
For networks the minimization is approximate; the approximation is described in `influence.k_priors.prior`.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from influence.k_priors import point_loss, weight_gradient
from lightning_modules.adaptation.points import Plan, PointBatch
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.classifier.optimization import kernels
from lightning_modules.learner.checks import check_labels, validate_images
from lightning_modules.learner.targets import as_probabilities, smoothed


class Adaptation(pl.LightningModule):
    """Trains a classifier on the points of a plan.

    A classifier that starts from its old weights keeps its batch statistics and has no dropout, so that it equals the
    old model at the start, where the K-prior has no gradient. The weight term, `decay/2 ||w||^2 - old_decay <w, w*>`,
    is added to the gradients; the optimizer itself must have no weight decay.

    Args:
        student: The classifier to adapt; the copy of a doubled last layer is not trained.
        teacher: The old model, for the soft targets of the plan; not changed. Its weights are `w*`.
        plan: The points.
        decay: Weight decay of the mean loss, in the convention of the optimizer.
        old_decay: Weight decay of the old model.
        fresh: True if the student starts from random weights, so that nothing pulls towards the old ones.
        original: True if the old model takes the original images, and not the augmented ones of the student: for a
            new augmentation policy.
    """

    def __init__(
        self,
        student: Classifier,
        teacher: Classifier,
        plan: Plan,
        *,
        decay: float,
        old_decay: float,
        fresh: bool,
        original: bool,
    ) -> None:
        super().__init__()
        self.student, self.teacher, self.plan = student, teacher, plan
        self.decay = decay
        self.fresh, self.original = fresh, original
        self.terms = (plan.decay * decay, 0.0 if fresh else plan.old_decay * old_decay)
        self.scale = len(plan.rows) / plan.total
        self.needs_teacher = bool((plan.soft != 0).any())

    def train(self, mode: bool = True) -> "Adaptation":
        """Set the mode; the old model, and a network that starts from its weights, stay in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        self.student.network.train(mode and self.fresh)
        return self

    def on_train_start(self) -> None:
        """Restore the modes, which a validation before the training may have changed."""
        self.train()

    def on_train_batch_start(self, batch: PointBatch, batch_idx: int) -> None:
        """Check the first batch before anything is trained on it."""
        if batch_idx == 0 and self.current_epoch == 0:
            validate_images(batch[0])
            check_labels(batch[1], self.student.num_classes)

    def training_step(self, batch: PointBatch, batch_idx: int) -> Tensor:
        """Return the mean loss of the points of a batch, times the mean count of a point."""
        images, labels, soft, hard = batch
        augmented, mixed = self.student.augment(images, labels)
        logits = self.student(augmented).float()
        old = (
            self._old_probs(images if self.original else augmented) if self.needs_teacher else torch.zeros_like(logits)
        )
        targets = smoothed(as_probabilities(mixed, logits.shape[1]), logits, self.student.label_smoothing)
        loss = point_loss(logits, targets.to(logits), old, soft.to(logits), hard.to(logits))
        loss = loss * self.scale / len(labels)
        self.log("adapt/loss", loss.detach(), prog_bar=True, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    @torch.no_grad()
    def _old_probs(self, images: Tensor) -> Tensor:
        """Return the class probabilities of the old model, `[B, K]`."""
        logits: Tensor = self.teacher(images)
        return logits.float().softmax(dim=1)

    @torch.no_grad()
    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the gradient of the weight term."""
        decay, old_decay = self.terms
        own_weights, old_weights = (_decayed(model) for model in (self.student, self.teacher))
        for own, old in zip(own_weights, own_weights if self.fresh else old_weights, strict=True):
            if own.grad is not None:
                own.grad += weight_gradient(own, old, decay, old_decay)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and the schedule of the classifier."""
        return self.student.configure_optimizers()

    def on_train_end(self) -> None:
        """Set the weight decay of the optimizer to that of the weight term, so that checkpoints hold it."""
        for optimizer in self.trainer.optimizers:
            groups = optimizer.param_groups
            for group in groups[:1] if self.student.decay_kernels_only else groups:
                group["weight_decay"] = self.decay


def _decayed(classifier: Classifier) -> list[nn.Parameter]:
    """Return the weights that decay, those of the first group of the optimizer."""
    network = classifier.network
    return kernels(network) if classifier.decay_kernels_only else list(network.parameters())
