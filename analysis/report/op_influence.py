"""Predicted effect of ops on classes: the influence of each op alone on the loss of each class.

    S_k = (H + damping)^-1 grad L_k,     I_k(op) = mean_i [ I_up(T_op x_i; S_k) - I_up(x_i; S_k) ]

with L_k the mean loss of class k on the influence set (`influence.class_gradients`) and T_op a draw of the policy in
which all other magnitudes are 0 (`docs/method.md`, "Class effects"). It is the predicted change of L_k if every
training image were replaced by such a view and the last layer refitted, to first order: negative helps. It is a
prediction to first order about the network that has been trained with the policy, reliable for small changes; it does
not include what the layers below would learn.

By linearity the mean over classes, weighted by their share of the influence set, is the influence on its whole loss.

Axes: N training images, P ops, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from augnet import AugNet, TransformSpace
from augnet.batch import Batch
from influence import Solution, class_gradients, upweight_influence
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.targets import as_probabilities

from ..moments.policy_influence import capture_of, class_solutions, read_rows, training_hessian
from ..run_folder import OpenedRun

MOST_CLASSES = 100  # the gradients of K classes are K last layers
WHOLE = "whole policy"
_TRIES = 64  # draws of the policy for each image until it has taken an op


@dataclass(frozen=True)
class OpInfluence:
    """Influence of P ops on the losses of K classes, on the CPU."""

    ops: tuple[str, ...]  # the last of them is `WHOLE`
    mean: Tensor  # [P, K], over training images; negative helps; NaN for an op that is never taken
    error: Tensor  # [P, K], standard error of the mean, over training images and their draws
    images: Tensor  # [P], number of images behind it
    of_class: Tensor  # [K], influence images of each class; the columns of those without any are 0
    converged: bool  # all solves reached their tolerance

    @property
    def clear(self) -> Tensor:
        """Mask `[P, K]` of the means that differ from 0 at 95 % confidence over all of them at once.

        By Student's t, since an op that a mixture seldom takes has few images, times the number of means (Bonferroni).
        """
        degrees = (self.images - 1).clamp(min=1).numpy()
        bounds = torch.from_numpy(stats.t.isf(0.025 / self.mean.numel(), degrees))
        return self.mean.abs() > bounds[:, None] * self.error


def measure_ops(run: OpenedRun, images: int, seed: int = 0) -> OpInfluence:
    """Compute the influence of the ops of the policy of a run over training images, >= 2, drawn at random.

    Raises:
        ValueError: If the run has no policy, no influence set, or more than `MOST_CLASSES` classes.
    """
    if run.policy is None or run.data.num_classes > MOST_CLASSES:
        raise ValueError(f"expected a run with a policy and at most {MOST_CLASSES} classes")
    generator = torch.Generator().manual_seed(seed)
    capture, device = capture_of(run.model, run.data), run.model.device
    held_out, labels = run.data.influence_set()
    features, logits = read_rows(capture, held_out, run.data.batch_size)
    hessian = training_hessian(capture, run.data, run.model.learned_augmentation.settings.damping)
    solutions = class_solutions(hessian, class_gradients(features, logits, labels.to(device)))
    train = run.data.splits.train
    order = torch.randperm(len(train), generator=generator)[:images]
    chosen, classes = (part.to(device) for part in train.__getitems__(order.tolist()))
    batch = Batch(chosen, as_probabilities(classes, run.data.num_classes))
    net = run.policy.to(device)
    before = class_influence(capture, solutions, batch, run.data.batch_size)
    changes = {}
    for op, (magnitudes, taken) in magnitudes_alone(net, batch, generator).items():
        moved = net.space.apply_to(batch, magnitudes, generator=generator)
        changes[op] = (class_influence(capture, solutions, moved, run.data.batch_size) - before)[taken].cpu()
    of_class = torch.bincount(labels, minlength=run.data.num_classes).cpu()
    return _means(changes, of_class, all(solution.converged for solution in solutions))


def _means(changes: dict[str, Tensor], of_class: Tensor, converged: bool) -> OpInfluence:
    """Return the means of the rows `[N, K]` of each op, with their errors."""
    mean = torch.stack([rows.mean(dim=0) for rows in changes.values()])
    errors = [
        rows.std(dim=0) / len(rows) ** 0.5 if len(rows) > 1 else rows.new_full(rows.shape[1:], nan)
        for rows in changes.values()
    ]
    images = torch.tensor([len(rows) for rows in changes.values()])
    return OpInfluence(tuple(changes), mean, torch.stack(errors), images, of_class, converged)


@torch.no_grad()
def class_influence(capture: FeatureCapture, solutions: list[Solution], batch: Batch, batch_size: int) -> Tensor:
    """Return the influence `[N, K]` of the images and labels of a batch on the loss of each class; negative helps."""
    features, logits = read_rows(capture, batch.images, batch_size)
    targets: Any = batch.labels
    return torch.stack([upweight_influence(one, features, logits, targets) for one in solutions], dim=1)


@torch.no_grad()
def magnitudes_alone(
    net: AugNet[Any, Any], batch: Batch, generator: torch.Generator
) -> dict[str, tuple[Tensor, Tensor]]:
    """Draw magnitudes of a policy in which only one op acts, and of the whole policy.

    A mixture takes an op for few images: for each image, the first of `_TRIES` draws that takes it. A policy without
    ops (fields) has the whole alone.

    Returns:
        Op -> magnitudes `[N, ...]`, and the mask `[N]` of images that took it.
    """
    first = net.sample(batch.images, batch.labels, generator)
    everyone = torch.ones(len(first), dtype=torch.bool, device=first.device)
    found = {WHOLE: (first, everyone)}
    if not isinstance(net.space, TransformSpace):
        return found
    kept, taken = first.clone(), first != 0
    for _ in range(_TRIES - 1):
        if bool(taken.all()):
            break
        more = net.sample(batch.images, batch.labels, generator)
        kept = torch.where(taken, kept, more)
        taken = taken | (more != 0)
    columns = torch.eye(len(net.space.names), dtype=first.dtype, device=first.device)
    return {op: (kept * columns[p], taken[:, p]) for p, op in enumerate(net.space.names)} | found
