"""The paper's own schedule: a policy learned against a classifier that stays as it is.

    1. Train a classifier with the base policy.
    2. Solve for S once, from its features of unaugmented images; learn the policy against it.     (this file)
    3. Train a fresh classifier with the base policy followed by the learned one.

Lee, Park, Pham and Yoo, CVPR 2020; learning rate, warm-up and cosine: docs/method.md, "Costs".
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from augnet import FieldSpace
from augnet.network import AugNet
from augnet.policies import FieldPolicy
from augnet.pretraining import pretrain_field
from lightning_modules.learner.checks import check_numbers
from lightning_modules.learner.feature_capture import frozen
from lightning_modules.learner.policy_learner import PolicyLearner, PolicyUpdate

_WARMUP = 0.1  # of the steps
_LOWEST = 0.1  # of the learning rate, at the end of the cosine

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class StagedSettings:
    """The policy stage of the staged schedule.

    Args:
        steps: Updates of the policy against the trained classifier.
        pretrain: Steps of adversarial pretraining of a field network's decoder before that, towards what the base
            policy makes; 0 for none. A public re-implementation of the paper takes 2,000 for CIFAR.
    """

    steps: int = 1000
    pretrain: int = 0

    def __post_init__(self) -> None:
        check_numbers("staged.", "[1, 10000000]", steps=self.steps)
        check_numbers("staged.", "[0, 10000000]", pretrain=self.pretrain)

    def check(self, augnet: AugNet, has_base: bool) -> None:
        """Raise ValueError if there is nothing to pretrain, or nothing to pretrain it towards."""
        if self.pretrain and not isinstance(augnet.policy, FieldPolicy):
            raise ValueError(f"staged.pretrain is for policy field, found {augnet.policy.kind}: set it to 0.")
        if self.pretrain and not has_base:
            raise ValueError(
                "staged.pretrain teaches a field network what the base policy makes: set base_policy, or pretrain to 0."
            )


def learn_staged(
    learner: PolicyLearner,
    batches: Callable[[], Iterator[Batch]],
    settings: StagedSettings,
    on_update: Callable[[int, PolicyUpdate], None],
) -> None:
    """Learn a policy against a classifier that stays as it is, and put it at its average.

    Args:
        learner: Of the policy; with `refresh` 0 it solves once.
        batches: Starts this rank's part of the training batches anew: images `[B, C, H, W]` in [0, 1], labels `[B]`.
        settings: Number of updates.
        on_update: Called after each update with its number, from 1, and its numbers.
    """
    if settings.pretrain:
        _pretrain(learner, batches, settings.pretrain)
    rows = learner.settings.hessian_rows
    learner.solve_once(_until(batches(), -(-rows // learner.ranks.count)))
    schedule = torch.optim.lr_scheduler.LambdaLR(learner.optimizer, lambda step: _share(step / settings.steps))
    for number, (images, labels) in enumerate(islice(_again(batches), settings.steps), start=1):
        update = learner.update(images, labels)
        schedule.step()
        on_update(number, update)
        if learner.stopped:
            break
    learner.finish()


def _share(done: float) -> float:
    """Of the learning rate, when a share of the steps is done: linear warm-up, then a cosine."""
    if done < _WARMUP:
        return max(done / _WARMUP, 1e-3)
    return _LOWEST + (1 - _LOWEST) * 0.5 * (1 + math.cos(math.pi * (done - _WARMUP) / (1 - _WARMUP)))


def _pretrain(learner: PolicyLearner, batches: Callable[[], Iterator[Batch]], steps: int) -> None:
    """Every rank does the same on the global batches, from the learner's own random numbers."""

    def pairs() -> Iterator[Batch]:
        for images, labels in islice(_again(batches), steps):
            originals, based, _ = learner.augmenter.apply_base_to_all(images, labels)
            yield originals, based

    def features(images: Tensor) -> Tensor:
        return learner.influence.features_and_logits(images)[0].float()

    augnet = learner.augnet.requires_grad_(True)
    if not isinstance(augnet.space, FieldSpace):
        raise TypeError(f"expected a field network, found {type(augnet.space).__name__}")
    with frozen(learner.capture.model):
        pretrain_field(augnet, pairs(), features, steps, learner.generator)
    augnet.requires_grad_(False)


def _until(batches: Iterable[Batch], rows: int) -> Iterator[Batch]:
    """Batches until so many rows are reached, or all."""
    for images, labels in batches:
        yield images, labels
        rows -= len(labels)
        if rows <= 0:
            return


def _again(batches: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
    """Batches without end."""
    while True:
        yield from batches()
