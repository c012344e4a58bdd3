"""Oracle for influence: predicted changes of the validation loss beside those measured by refitting the head.

A removal is predicted to change the loss by `-I_up / N`, a replacement by `I_aug / N` (Lee et al. 2020, Eq. 9 and 15).
Predictions hold at a stationary point, so the head is refitted before the Hessian is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

from influence import (
    LastLayerHessian,
    Samples,
    Solution,
    append_bias,
    loss_gradient,
    refit_head,
    replacement_influence,
    solve,
    upweight_influence,
)


def left_out_heads(
    training: Samples, head: Tensor, weight_decay: float | Tensor, indices: Tensor | None = None
) -> list[Tensor]:
    """Return the heads refitted without each of the training samples `indices` (all), from the head of all samples."""
    everything = head.new_ones(len(training.features))
    chosen = range(len(everything)) if indices is None else indices.tolist()
    return [
        refit_head(
            training,
            len(head),
            weight_decay=weight_decay,
            weights=everything.index_fill(0, torch.tensor(index), 0.0),
            initial=head,
        )
        for index in chosen
    ]


@dataclass(frozen=True)
class Changes:
    """Predicted and measured changes of the validation loss, `[M]` each."""

    predicted: Tensor
    measured: Tensor

    @property
    def pearson(self) -> float:
        return float(stats.pearsonr(self.predicted, self.measured).statistic)

    @property
    def spearman(self) -> float:
        return float(stats.spearmanr(self.predicted, self.measured).statistic)

    @property
    def slope(self) -> float:
        """Least squares of measured on predicted, with intercept; below 1 the prediction is too large."""
        return float(stats.linregress(self.predicted, self.measured).slope)

    @property
    def sign_agreement(self) -> float:
        """Share of changes with the predicted sign."""
        return float((self.predicted.sign() == self.measured.sign()).double().mean())


@torch.no_grad()
def removal_changes(
    training: Samples, validation: Samples, indices: Tensor, num_classes: int, *, weight_decay: float
) -> Changes:
    """Leave the training samples `indices` `[M]` out, one at a time; a positive change means that the sample helps."""
    fit = _Fit.of(training, validation, num_classes, weight_decay, damping=0.0)
    chosen = training.features[indices], fit.logits[indices], training.targets[indices]
    predicted = -upweight_influence(fit.solution, *chosen) / len(training.features)
    heads = left_out_heads(training, fit.head, weight_decay, indices)
    return Changes(predicted, torch.stack([_loss(head, validation) - fit.loss for head in heads]))


@torch.no_grad()
def replacement_changes(
    training: Samples,
    validation: Samples,
    replacements: Samples,
    indices: Tensor,
    num_classes: int,
    *,
    weight_decay: float,
    damping: float = 0.0,
) -> Changes:
    """Put row `j` of the replacements in the place of training row `indices[j]`, one at a time."""
    fit = _Fit.of(training, validation, num_classes, weight_decay, damping)
    original = training.features[indices], fit.logits[indices], training.targets[indices]
    replacement = replacements.features, append_bias(replacements.features) @ fit.head.T, replacements.targets
    predicted = replacement_influence(fit.solution, original, replacement) / len(training.features)
    measured = []
    for feature, target, index in zip(*replacements, indices, strict=True):
        changed = Samples(training.features.clone(), training.targets.clone())
        changed.features[index], changed.targets[index] = feature, target
        measured.append(fit.change(changed))
    return Changes(predicted, torch.stack(measured))


class _Fit(NamedTuple):
    """The head of the unchanged training set, the solution for the validation gradient, and the validation loss."""

    head: Tensor  # [K, D+1]
    logits: Tensor  # [N, K]
    solution: Solution
    validation: Samples
    weight_decay: float
    loss: Tensor

    @classmethod
    def of(cls, training: Samples, validation: Samples, num_classes: int, weight_decay: float, damping: float) -> _Fit:
        head = refit_head(training, num_classes, weight_decay=weight_decay)
        logits = append_bias(training.features) @ head.T
        hessian = LastLayerHessian(training.features, logits, damping=damping, weight_decay=weight_decay)
        gradient = loss_gradient(validation.features, append_bias(validation.features) @ head.T, validation.targets)
        solution = solve(hessian, gradient, tol=1e-8, max_iterations=5000)
        return cls(head, logits, solution, validation, weight_decay, _loss(head, validation))

    def change(self, training: Samples) -> Tensor:
        """Change of the validation loss after a refit on `training`."""
        head = refit_head(training, len(self.head), weight_decay=self.weight_decay, initial=self.head)
        return _loss(head, self.validation) - self.loss


def _loss(head: Tensor, samples: Samples) -> Tensor:
    return torch.nn.functional.cross_entropy(append_bias(samples.features) @ head.T, samples.targets)
