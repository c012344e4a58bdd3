"""Check influence against the truth: predicted and actual change of the validation loss, sample by sample.

A removal is predicted to change it by `-I_up / N`, a replacement by `I_aug / N` (Lee et al. 2020, Eq. 9 and
15); the actual change comes from refitting the head. Predictions hold at a stationary point, so the head is
refitted before the Hessian is taken: a head left by SGD is not one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from influence.agreement import Agreement, agreement
from influence.last_layer import LastLayerHessian, append_bias, loss_gradient
from influence.objectives import removal_change, replacement_influence
from influence.refit import Samples, refit_head
from influence.solvers import Solution, solve

_TOLERANCE = 1e-8


@torch.no_grad()
def removal_report(
    training: Samples,
    validation: Samples,
    indices: Tensor,
    num_classes: int,
    *,
    weight_decay: float,
    damping: float = 0.0,
) -> Agreement:
    """Leave samples out one at a time and refit.

    Args:
        training: `N` training samples.
        validation: Samples whose mean loss is followed.
        indices: `[M]` int64, M >= 2: which training samples to leave out, each alone.
        num_classes: K.
        weight_decay: Decay of the weights, > 0.
        damping: Relative damping of the prediction; the refit knows none.

    Returns:
        Predicted and actual changes `[M]`; positive: the sample helps.

    Raises:
        TypeError: If labels are not int64 or features are not floating point.
        ValueError: If shapes, targets or decay are invalid, or a value is not finite.
    """
    study = _Study.of(training, validation, num_classes, weight_decay, damping)
    rows = len(training.features)
    chosen = training.features[indices].double(), study.logits[indices], training.targets[indices]
    predicted = removal_change(study.solution, *chosen, num_rows=rows)
    keep = study.logits.new_ones(rows)
    actual = [study.change(training, keep.index_fill(0, index, 0.0)) for index in indices]
    return agreement(predicted, torch.stack(actual))


@torch.no_grad()
def replacement_report(
    training: Samples,
    validation: Samples,
    replacements: Samples,
    indices: Tensor,
    num_classes: int,
    *,
    weight_decay: float,
    damping: float = 0.0,
) -> Agreement:
    """Replace training samples one at a time and refit.

    Args:
        training: `N` training samples.
        validation: Samples whose mean loss is followed.
        replacements: `M` samples; row `j` takes the place of training row `indices[j]`.
        indices: `[M]` int64, M >= 2.
        num_classes: K.
        weight_decay: Decay of the weights, > 0.
        damping: Relative damping of the prediction; the refit knows none.

    Returns:
        Predicted and actual changes `[M]`; negative: the replacement helps.

    Raises:
        TypeError: If labels are not int64 or features are not floating point.
        ValueError: If shapes, targets or decay are invalid, or a value is not finite.
    """
    study = _Study.of(training, validation, num_classes, weight_decay, damping)
    original = training.features[indices].double(), study.logits[indices], training.targets[indices]
    features = replacements.features.double()
    replacement = features, append_bias(features) @ study.head.T, replacements.targets
    predicted = replacement_influence(study.solution, original, replacement) / len(training.features)
    actual = []
    for feature, target, index in zip(*replacements, indices, strict=True):
        changed = Samples(training.features.clone(), training.targets.clone())
        changed.features[index], changed.targets[index] = feature, target
        actual.append(study.change(changed, None))
    return agreement(predicted, torch.stack(actual))


class _Study(NamedTuple):
    """The unchanged training set: its head, the solution for the validation gradient, the validation loss."""

    head: Tensor  # [K, D+1]
    logits: Tensor  # [N, K]
    solution: Solution
    validation: Samples
    weight_decay: float
    loss: Tensor

    @classmethod
    def of(
        cls, training: Samples, validation: Samples, num_classes: int, weight_decay: float, damping: float
    ) -> _Study:
        head = refit_head(training, num_classes, weight_decay=weight_decay)
        features, held_out = training.features.double(), validation.features.double()
        logits = append_bias(features) @ head.T
        hessian = LastLayerHessian(features, logits, damping=damping, weight_decay=weight_decay)
        gradient = loss_gradient(held_out, append_bias(held_out) @ head.T, validation.targets)
        solution = solve(hessian, gradient, tol=_TOLERANCE, max_iterations=5000)
        return cls(head, logits, solution, validation, weight_decay, _loss(head, validation))

    def change(self, training: Samples, weights: Tensor | None) -> Tensor:
        """Change of the validation loss after refitting on `training`."""
        head = refit_head(training, len(self.head), weight_decay=self.weight_decay, weights=weights, initial=self.head)
        return _loss(head, self.validation) - self.loss


def _loss(head: Tensor, samples: Samples) -> Tensor:
    """Mean cross-entropy; labels and probabilities alike."""
    logits = append_bias(samples.features.double()) @ head.T
    targets = samples.targets.double() if samples.targets.is_floating_point() else samples.targets
    return torch.nn.functional.cross_entropy(logits, targets)
