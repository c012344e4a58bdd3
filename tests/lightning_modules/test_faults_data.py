"""Data and classifiers at the edge of what makes sense: the run goes on, and says what it can say."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from learner_cases import BATCH, make, network
from torch import Tensor
from two_ways import WAYS, Stored, ToySplits, Way

from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.targets import warn_of_missing_classes

Change = Callable[[Tensor, Tensor], Stored]


def one_class(images: Tensor, labels: Tensor) -> Stored:
    return images[labels == 1], labels[labels == 1]


def without_a_class(images: Tensor, labels: Tensor) -> Stored:
    return images[labels != 2], labels[labels != 2]


def one_image(images: Tensor, labels: Tensor) -> Stored:
    return images[:1], labels[:1]


def constant(images: Tensor, labels: Tensor) -> Stored:
    return torch.full_like(images, 0.5), labels


def all_wrong(images: Tensor, labels: Tensor) -> Stored:
    return images, (labels + 1) % 3


def sorted_by_class(images: Tensor, labels: Tensor) -> Stored:
    return images[labels.sort(stable=True).indices], labels.sort().values


def fit(name: str, folder: Path, data: ToySplits) -> tuple[Way, list[str]]:
    """Train for two epochs; the warnings of this project."""
    way = WAYS[name](**({} if name == "own" else {"influence": data.influence_set()}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        way.fit(folder, data=data, max_epochs=2)
    assert all(bool(value.isfinite().all()) for value in way.state().values())
    assert way.learner.updates > 0
    return way, [str(one.message) for one in caught]


# The influence set


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize(
    ("change", "missing"), [(one_class, "2 of 3 classes (0, 2)"), (without_a_class, "1 of 3 classes (2)")]
)
def test_an_influence_set_that_lacks_classes_is_used_and_said(
    change: Change, missing: str, name: str, tmp_path: Path
) -> None:
    way, said = fit(name, tmp_path, ToySplits(influence=change))
    assert any(f"the influence set has no image of {missing}: the policy follows" in message for message in said)
    assert way.learner.influence.held_out_loss > 0
    assert way.theta.isfinite().all()
    _, said = fit(name, tmp_path, ToySplits())
    assert not any("the influence set has no image" in message for message in said)


def test_only_the_first_of_many_missing_classes_are_named() -> None:
    with pytest.warns(UserWarning, match=r"no image of 98 of 100 classes \(1, 2, 4, 5, 6, 7, 8, 9, 10, 11, \.\.\.\)"):
        warn_of_missing_classes(torch.tensor([0, 3, 3]), 100)


# Training batches


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("change", [constant, all_wrong, sorted_by_class, without_a_class])
def test_training_data_from_which_nothing_can_be_learned(change: Change, name: str, tmp_path: Path) -> None:
    way, _ = fit(name, tmp_path, ToySplits(train=change))
    update = way.learner.update(*change(*BATCH))
    assert update.influence.isfinite().all()


@pytest.mark.parametrize("name", WAYS)
def test_influence_set_of_one_image(name: str, tmp_path: Path) -> None:
    fit(name, tmp_path, ToySplits(influence=one_image))


@pytest.mark.parametrize("name", WAYS)
def test_a_last_batch_of_one_image_is_left_out(name: str, tmp_path: Path) -> None:
    """Batch normalization could not be computed of it: 96 images are one batch of 95."""
    way, _ = fit(name, tmp_path, ToySplits(batch_size=95))
    assert way.learner.updates == 2


@pytest.mark.parametrize("change", [one_image, one_class])
@pytest.mark.parametrize("policy", ["ranges", "intervals", "mixture", "conditional", "class_conditional", "field"])
def test_updates_on_small_batches(policy: Any, change: Change) -> None:
    """The classifier is in evaluation mode: batch normalization takes one image."""
    learner = make(policy=policy)
    before = {name: value.clone() for name, value in learner.augnet.state_dict().items()}
    for _ in range(3):
        assert learner.update(*change(*BATCH)).influence.isfinite().all()
    after = learner.augnet.state_dict()
    assert all(bool(value.isfinite().all()) for value in after.values())
    assert any(not torch.equal(after[name], value) for name, value in before.items())


# Classifiers


def certain(learner: PolicyLearner) -> None:
    """Every prediction is 0 or 1 to the last bit: the Hessian is zero."""
    head = network(learner).head
    head.weight.data.mul_(1e8)


def outgrown(learner: PolicyLearner) -> None:
    network(learner).scale.data.fill_(1e15)


def of_many_sizes(learner: PolicyLearner) -> None:
    """Features from 1e-6 to 1e8: a Hessian whose condition float32 cannot hold."""
    body: Any = network(learner).body
    body[2].weight.data.copy_(torch.tensor([1e8, 1.0, 1e-6, 1e3, 1e-3]))
    body[3] = torch.nn.Identity()


def knows_nothing(learner: PolicyLearner) -> None:
    """No image has features: the Hessian is that of the biases alone."""
    network(learner).scale.data.zero_()


@pytest.mark.filterwarnings("ignore:.* stopped after .* iterations")  # the Hessian cannot be inverted
@pytest.mark.parametrize("policy", ["ranges", "intervals", "mixture", "conditional", "class_conditional", "field"])
@pytest.mark.parametrize("spoil", [certain, outgrown, of_many_sizes, knows_nothing])
def test_hessians_that_cannot_be_inverted(spoil: Callable[[PolicyLearner], None], policy: Any) -> None:
    learner = make(policy=policy)
    learner.update(*BATCH)
    before = {name: value.clone() for name, value in learner.augnet.state_dict().items()}
    spoil(learner)
    learner.influence.bank = type(learner.influence.bank)(learner.settings.hessian_rows)
    updates = [learner.update(*BATCH) for _ in range(3)]
    after = learner.augnet.state_dict()
    assert all(bool(value.isfinite().all()) for value in after.values())
    moved = [name for name, value in before.items() if not torch.equal(after[name], value)]
    if spoil is knows_nothing:
        assert [update.event for update in updates] == [None] * 3
    else:
        assert all("no influence to learn from" in str(update.event) for update in updates)
        assert not set(moved) - {name for name, _ in learner.augnet.named_buffers()}  # those only describe


@pytest.mark.filterwarnings("ignore:.* stopped after .* iterations")  # the Hessian cannot be inverted
def test_a_classifier_that_becomes_less_certain_is_learned_from_again() -> None:
    learner = make()
    certain(learner)
    assert learner.update(*BATCH).event is not None
    network(learner).head.weight.data.mul_(1e-8)
    start = learner.augnet.policy.theta.detach().clone()
    learner.influence.bank = type(learner.influence.bank)(learner.settings.hessian_rows)
    assert learner.update(*BATCH).event is None
    assert (learner.augnet.policy.theta != start).all()
