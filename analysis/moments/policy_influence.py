"""Expected influence of a whole policy, without drawing from it.

    E I(T x) ~ I(mu) + 1/2 tr(Hess_x I Sigma) = I(mu) + 1/2 sum_k I''[F_k, F_k],     Var I ~ g^T Sigma g

with I the up-weighting influence of an augmented image (`influence.upweight_influence`), mu and F the moments of the
image (`docs/method.md`, "Moments"). Negative is good: on average over images, training on views of this policy is
predicted to lower the loss on the influence set.

The derivatives of a ReLU network have the curvature of its softmax alone; `step` takes differences over a step of the
size of the augmentation instead, which include its kinks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from influence import LastLayerHessian, Solution, loss_gradient, solve, upweight_influence
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.data import InfluenceDataModule
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

from ..sampling import draw_rows
from .factored import Moments
from .network import Function, curvature, output_moments

_HESSIAN_ROWS = 2048  # at most


class ExpectedInfluence(NamedTuple):
    """Influence of the views of one image."""

    at_mean: float  # of the mean image, zeroth order
    expected: float  # second order
    variance: float  # first order


@torch.no_grad()
def expected_influence(influence: Function, moments: Moments, step: float | None = None) -> ExpectedInfluence:
    """Return mean and variance of the influence of a random image; for the step see `network.curvature`.

    `influence` takes images `[B, C, H, W]` to `[B]`, see `influence_function`. Moments that are `compressed` to a few
    columns cost a few passes.
    """
    first = output_moments(lambda images: influence(images)[:, None], moments)
    at_mean = float(first.mean)
    return ExpectedInfluence(at_mean, at_mean + float(curvature(influence, moments, step)), float(first.trace))


def capture_of(model: AugmentedClassifier, data: InfluenceDataModule) -> FeatureCapture:
    """Return the capture of features and logits of a classifier at its last linear layer."""
    images, _ = data.splits.influence.__getitems__([0, 0])
    return FeatureCapture(model, find_last_linear(model.network, images.to(model.device)))


def influence_function(capture: FeatureCapture, solution: Solution | Tensor, target: Tensor) -> Function:
    """Return the influence of images of one target, `[K]` probabilities: images `[B, C, H, W]` to influence `[B]`.

    Differentiable, forwards and backwards. The classifier is in evaluation mode; S is a solution or a matrix
    `[K, D+1]`, see `capture_of` and `solve_for_influence_set`.
    """

    def influence(images: Tensor) -> Tensor:
        features, logits = capture(images)
        return upweight_influence(solution, features, logits, target.expand(len(images), -1))

    return influence


@torch.no_grad()
def read_rows(capture: FeatureCapture, images: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return features `[N, D]` and logits `[N, K]` of images `[N, C, H, W]`, on the device of the classifier."""
    pairs = [capture(part.to(capture.head.weight.device)) for part in images.split(batch_size)]
    features, logits = (torch.cat(column) for column in zip(*pairs, strict=True))
    return features, logits


def training_hessian(capture: FeatureCapture, data: InfluenceDataModule, damping: float) -> LastLayerHessian:
    """Return H of training images without augmentation, drawn at random, always the same ones.

    The damping is times its mean eigenvalue, > 0.
    """
    train = data.splits.train
    images, _ = train.__getitems__(draw_rows(len(train), _HESSIAN_ROWS, seed=0))
    return LastLayerHessian(*read_rows(capture, images, data.batch_size), damping=damping)


@torch.no_grad()
def solve_for_influence_set(capture: FeatureCapture, data: InfluenceDataModule, damping: float) -> Solution:
    """Solve `S = (H + damping)^-1 g`: g of the whole influence set, H from `training_hessian`."""
    images, labels = data.influence_set()
    hessian = training_hessian(capture, data, damping)
    gradient = loss_gradient(*read_rows(capture, images, data.batch_size), labels.to(hessian.rows.device))
    return solve(hessian, gradient, tol=1e-6, max_iterations=1000)


@torch.no_grad()
def class_solutions(hessian: LastLayerHessian, gradients: Tensor) -> list[Solution]:
    """Solve `S_k = (H + damping)^-1 grad L_k` for each class; `[K, K, D+1]`, see `influence.class_gradients`."""
    return [solve(hessian, gradient, tol=1e-6, max_iterations=2000) for gradient in gradients]
