"""Weights and soft labels of the training images, learned from their influence on the loss of the influence set.

    I_i = -(p_i - q_i)^T S a_i          a sample's weight w_i changes that loss by I_i, up to the factor 1 / N
    dI_i / dq_i = S a_i                 so does its label, class by class
    log w_i <- log w_i - lr bounded(I_i / rms I),     log q_i <- log q_i - label_lr bounded(S a_i / rms S a) + constant

Both steps are mirror descent with the entropy as its distance (docs/method.md, "Sample weights"). Features and logits
are those of the training pass, with its batch statistics and dropout; only the refresh of S costs a pass over the
influence set. A weight is how often an image is drawn from the next epoch on, not a factor of its loss: an image that
is drawn ten times shows ten views of itself, and the batch statistics are those of the weighted data.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from influence.last_layer import append_bias
from influence.losses import CrossEntropy, Loss
from lightning_modules.learner.checks import check_numbers
from lightning_modules.learner.feature_capture import FeatureCapture, frozen
from lightning_modules.learner.last_layer_influence import LastLayerInfluence
from lightning_modules.learner.objective import bounded
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.settings import LearnerSettings


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """Settings of the weights and soft labels of training images.

    Args:
        weights: Learn how often each image is drawn; the weights of all have a mean of 1.
        soft_labels: Learn what each image shows, from its label on.
        lr: Step of a log-weight at an influence of typical size, in each epoch that draws the image; one that is drawn
            several times takes that many shorter ones.
        label_lr: The same of a label's log-probabilities.
        warmup: Classifier steps before the first.
        refresh: Classifier steps from one solve for S to the next.
        clip: Bound on an influence, in multiples of the batch's root mean square, > 0.
        smoothing: Share of a soft label that is spread over all classes at the start, in (0, 1): a probability of 0
            could never grow.
    """

    weights: bool = False
    soft_labels: bool = False
    lr: float = 0.03
    label_lr: float = 0.1
    warmup: int = 100
    refresh: int = 20
    clip: float = 3.0
    smoothing: float = 0.05

    def __post_init__(self) -> None:
        check_numbers("samples.", "(0, 10]", lr=self.lr, label_lr=self.label_lr)
        check_numbers("samples.", "(0, 1e9]", clip=self.clip)
        check_numbers("samples.", "[0, 1000000]", warmup=self.warmup)
        check_numbers("samples.", "[1, 1000000]", refresh=self.refresh)
        check_numbers("samples.", "(0, 1)", smoothing=self.smoothing)

    @property
    def any(self) -> bool:
        """True if anything is learned."""
        return self.weights or self.soft_labels


class SampleWeights:
    """The weight and the label of each training image, from the labels `[N]` given for all of them.

    The influence set, images `[M, C, H, W]` in [0, 1] and labels `[M]`, is clean, and balanced as deployment is;
    `curvature` has rows, damping and tolerance of the solve.
    """

    def __init__(
        self,
        settings: SampleSettings,
        labels: Tensor,
        capture: FeatureCapture,
        influence_set: tuple[Tensor, Tensor],
        curvature: LearnerSettings,
        ranks: Ranks,
        forward_context: Callable[[], AbstractContextManager[Any]],
        loss: Loss,
    ) -> None:
        if not isinstance(loss, CrossEntropy) or loss.class_weights is not None:
            raise ValueError(
                f"samples: weights and soft labels are learned for a cross-entropy without class weights, found "
                f"{type(loss).__name__}: leave samples out, or train with that loss."
            )
        device, self.num_classes = influence_set[1].device, capture.head.out_features
        self.settings, self.capture, self.ranks = settings, capture, ranks
        self.influence = LastLayerInfluence(capture, influence_set, curvature, True, ranks, forward_context, loss)
        labels = labels.to(device)
        self.log_weights = torch.zeros(len(labels), device=device)
        if settings.weights:
            self.log_weights += class_ratios(labels, influence_set[1], self.num_classes).log()[labels]
        self.label_shifts = torch.zeros(len(labels), self.num_classes if settings.soft_labels else 0, device=device)
        self.counts = torch.ones_like(self.log_weights)  # how often each image is in this epoch

    def weights(self) -> Tensor:
        """Weights `[N]`, of mean 1."""
        return self.log_weights.softmax(dim=0) * len(self.log_weights)

    def agreed_weights(self) -> Tensor:
        """Weights `[N]`, bit for bit the same on every rank, so that all draw the same images from them."""
        self.ranks.average(self.log_weights)
        return self.weights()

    def labels(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Given labels `[B]` of images with row numbers `[B]`, or probabilities `[B, K]` where these are learned."""
        if not self.settings.soft_labels:
            return labels
        start = nn.functional.one_hot(labels, self.num_classes).float() * (1 - self.settings.smoothing)
        start = start + self.settings.smoothing / self.num_classes
        return (start.log() + self.label_shifts[rows]).softmax(dim=1)

    @torch.no_grad()
    def learn(self, step: int, rows: Tensor, features: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Move what is learned about the images of a training batch; a batch with values that are not finite is left.

        An image that is in an epoch several times takes that many shorter steps. The classifier's step counts from 1;
        row numbers `[B]`, features `[B, D]` and logits `[B, K]` of the training pass, and targets as the loss took
        them are this rank's part.
        """
        rows, features, logits, targets = (self.ranks.gather(part) for part in (rows, features, logits, targets))
        if step <= self.settings.warmup or not bool(features.isfinite().all() & logits.isfinite().all()):
            return
        self.influence.bank.add(features, logits, targets)
        if not self.influence.solved or step % self.settings.refresh == 0:
            with frozen(self.capture.model):
                gradient = self.influence.gradient()
            if gradient is not None:
                self.influence.solve(gradient)
        if not self.influence.solved:
            return
        if self.settings.weights:
            influence = self.influence.of(features, logits, targets)
            self._move(self.log_weights, rows, influence, self.settings.lr)
        if self.settings.soft_labels:
            value = self.influence.solution.value
            directions = append_bias(features.to(value)) @ value.T  # [B, K], the influence of each class of the label
            self._move(self.label_shifts, rows, directions, self.settings.label_lr)

    def _move(self, table: Tensor, rows: Tensor, influence: Tensor, lr: float) -> None:
        size = influence.square().mean().sqrt().clamp(min=torch.finfo(influence.dtype).tiny)
        steps = lr * bounded(influence, size, self.settings.clip).to(table).view(len(rows), -1)
        same = (rows[:, None] == rows).to(table)  # an image that is in the batch twice takes both steps
        table[rows] -= (same @ steps / self.counts[rows, None]).view_as(influence)

    def metrics(self) -> dict[str, float]:
        """The effective number of images, `(sum w)^2 / sum w^2`, as a share of all; the share that has been shifted."""
        weights = self.weights()
        found = {"samples/effective": float(weights.sum().square() / weights.square().sum() / len(weights))}
        if self.settings.soft_labels:
            spread = self.label_shifts.amax(dim=1) - self.label_shifts.amin(dim=1)
            found["samples/label_shift"] = float(spread.mean())
        return found if self.settings.weights else {key: found[key] for key in found if key != "samples/effective"}

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs; tensors and numbers only."""
        tables = {"log_weights": self.log_weights, "label_shifts": self.label_shifts}
        return {**tables, "influence": self.influence.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; ValueError if it is of another number of images or classes."""
        for name in ("log_weights", "label_shifts"):
            own, given = getattr(self, name), state[name]
            if own.shape != given.shape:
                raise ValueError(
                    f"the checkpoint has {name} of shape {tuple(given.shape)}, the data give {tuple(own.shape)}: "
                    "resume with the data and the settings of its run."
                )
            own.copy_(given)
        self.influence.load_state_dict(state["influence"])


def class_ratios(labels: Tensor, influence_labels: Tensor, num_classes: int) -> Tensor:
    """Return the ratio of the frequencies of each class in the influence set and in the training images, `[K]`.

    The influence set counts as if K more images of the training frequencies were in it: without a shift all ratios are
    1, and a class that it lacks keeps one above 0.
    """
    trained = labels.bincount(minlength=num_classes) / len(labels)
    shown = influence_labels.bincount(minlength=num_classes) + num_classes * trained
    ratios = shown / shown.sum() / trained
    return torch.where(trained > 0, ratios, 1.0)
