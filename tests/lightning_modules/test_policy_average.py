import copy
import math

import pytest
import torch
from learner_cases import BATCH, make

from augnet import AugNet
from lightning_modules.learner.policy_average import WINDOW, PolicyAverage


def test_the_average_by_hand() -> None:
    """Shares of the past 0, 1/10, 2/11, ... up to the decay."""
    augnet = AugNet.from_ops(["rotation"], 0.5)
    average = PolicyAverage(augnet.policy, decay=0.15)
    expected = math.nan
    for number, value in enumerate([1.0, 2.0, -1.0, 4.0]):
        augnet.policy.theta.data.fill_(value)
        average.update(augnet.policy, augnet.space)
        past = min(0.15, number / (number + 9))
        expected = value if number == 0 else past * expected + (1 - past) * value
        assert average.policy.state_dict()["theta"].item() == pytest.approx(expected, rel=1e-6)
    assert average.policy is not augnet.policy
    assert not average.policy.theta.requires_grad


def test_without_decay_the_average_is_the_latest() -> None:
    learner = make(ema=0.0)
    for _ in range(3):
        learner.update(*BATCH)
    assert torch.equal(learner.result.policy.theta, learner.augnet.policy.theta)


def test_a_range_at_its_bound_stays_there() -> None:
    augnet = AugNet.from_ops(["rotation", "scale"], 1.0)
    average = PolicyAverage(augnet.policy, decay=0.9)
    for _ in range(3):
        average.update(augnet.policy, augnet.space)
    assert torch.equal(average.policy.state_dict()["theta"], augnet.policy.theta)


def test_movement_is_infinite_until_the_window_is_full() -> None:
    augnet = AugNet.from_ops(["rotation", "scale"], 0.5)
    average = PolicyAverage(augnet.policy, decay=0.0)
    for _ in range(WINDOW):
        average.update(augnet.policy, augnet.space)
        assert average.movement() == math.inf
    augnet.policy.theta.data[1] = math.log(0.6 / 0.4)  # 0.6 of the bound
    average.update(augnet.policy, augnet.space)
    assert average.movement() == pytest.approx(0.1, abs=1e-5)
    for _ in range(WINDOW):
        average.update(augnet.policy, augnet.space)
    assert average.movement() == 0


@pytest.mark.slow
def test_a_policy_that_has_settled_is_frozen_at_its_average() -> None:
    moving, settled = make(freeze=1e-9), make(freeze=1.0, lr=1e-4)
    events = [[learner.update(*BATCH).event for _ in range(WINDOW + 1)] for learner in (moving, settled)]
    assert events[0] == [None] * len(events[0])
    assert events[1][:-1] == [None] * WINDOW
    assert "The policy has settled" in str(events[1][-1])
    assert settled.finished
    assert not settled.due(1000)
    assert moving.due(1000)
    assert torch.equal(make_state(settled.augnet), make_state(settled.result))


def make_state(augnet: AugNet) -> torch.Tensor:
    values: torch.Tensor = augnet.policy.theta
    return values


def test_a_roll_back_starts_the_average_anew() -> None:
    learner = make(lr=1.0)
    for _ in range(3):
        learner.update(*BATCH)
    healthy = learner.guard.healthy["theta"].clone()
    learner.update(torch.full_like(BATCH[0], math.nan), BATCH[1])
    assert torch.equal(learner.augnet.policy.theta, healthy)
    assert torch.equal(learner.result.policy.theta, healthy)
    assert learner.average.history == []


def test_a_restored_average_goes_on_as_the_first() -> None:
    first, second = make(), make()
    for _ in range(3):
        first.update(*BATCH)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.augnet.load_state_dict(first.augnet.state_dict())
    for learner in (first, second):
        learner.update(*BATCH)
    assert torch.equal(first.result.policy.theta, second.result.policy.theta)
    assert first.average.history == second.average.history
