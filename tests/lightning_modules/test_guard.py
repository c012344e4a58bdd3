"""The guard: it catches what collapsed before, keeps what is healthy, and says what it did."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learner_cases import BATCH, make
from toys import OPS, ToyData, ToyNet, blobs

from augnet import AugNet, RangePolicy
from influence import Solution
from lightning_modules.learner import policy_learner as learner_module
from lightning_modules.learner.augmenter import Augmenter
from lightning_modules.learner.guard import Guard, GuardSettings, Health, highest_retention
from lightning_modules.learner.settings import LearnerSettings

HEALTHY = Health(retention=0.95, saturated=0.1, residual=1e-3)
# states in which a policy that was learned without any restraint ended
RECORDED_COLLAPSES = {
    "influence -0.642, a fifth of the accuracy left": Health(retention=0.21, saturated=0.3, residual=1e-3),
    "loss 8.62, codes saturated": Health(retention=0.18, saturated=0.994, residual=1e-3),
}
SETTINGS = GuardSettings(patience=3, max_rollbacks=2)


def policy(value: float = 0.0) -> RangePolicy:
    made = RangePolicy([1.0, 2.0])
    made.theta.data.fill_(value)
    return made


@pytest.mark.parametrize("collapse", RECORDED_COLLAPSES.values(), ids=RECORDED_COLLAPSES.keys())
@pytest.mark.parametrize("settings", [GuardSettings(), SETTINGS])
def test_recorded_collapses_are_rolled_back(collapse: Health, settings: GuardSettings) -> None:
    watched = policy(-1.0)
    guard = Guard(watched, settings)
    assert guard.check(HEALTHY) is None
    watched.theta.data.fill_(5.0)
    events = [guard.check(collapse) for _ in range(settings.patience)]
    assert events[:-1] == [None] * (settings.patience - 1)
    assert events[-1] is not None
    assert f"retention is {collapse.retention:.2f}, below 0.5" in events[-1]
    assert watched.theta.tolist() == [-1.0, -1.0]


def test_saturated_codes_alone_are_enough() -> None:
    health = replace(HEALTHY, saturated=0.994)
    assert health.symptoms(GuardSettings()) == ["99% of the strengths are at their bound, over 90%"]


def test_saturation_is_counted_over_three_ops_and_more() -> None:
    few, many = (
        AugNet.from_ops(["rotation", "hue"], 0.99),
        AugNet.from_ops(["rotation", "scale", "hue", "aspect"], 0.99),
    )
    many.policy.theta.data[:2] = 0
    assert few.policy.saturated(few.space) == 0  # a single range may belong at its bound
    assert many.policy.saturated(many.space) == 0.5


def test_saturated_codes_of_the_field_network_are_counted() -> None:
    net = AugNet.from_fields(1, 8, 8)
    assert net.policy.saturated(net.space) == 0
    net.policy.latest[2] = 0.994
    assert net.policy.saturated(net.space) == pytest.approx(0.994)


def test_an_unsolved_system_is_a_symptom() -> None:
    assert replace(HEALTHY, residual=3.0).symptoms(SETTINGS) == ["the solve left a residual of 3, over 1"]


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_what_is_not_finite_is_rolled_back_at_once(value: float) -> None:
    watched = policy(-1.0)
    guard = Guard(watched, SETTINGS)
    watched.theta.data.fill_(value)
    health = replace(HEALTHY, finite=value != 0)
    event = guard.check(health)
    assert event is not None
    assert "not finite" in event
    assert watched.theta.tolist() == [-1.0, -1.0]


def test_a_range_at_its_bound_is_finite_enough() -> None:
    watched = RangePolicy([1.0], initial=1.0)
    assert watched.half_widths().tolist() == [1.0]
    assert Guard(watched, SETTINGS).check(HEALTHY) is None


def test_one_bad_update_between_good_ones_is_forgiven() -> None:
    guard = Guard(policy(), SETTINGS)
    bad = replace(HEALTHY, retention=0.1)
    for _ in range(10):
        assert guard.check(bad) is None
        assert guard.check(bad) is None
        assert guard.check(HEALTHY) is None
    assert guard.rollbacks == 0


def test_it_gives_up_after_its_roll_backs_and_says_so() -> None:
    guard = Guard(policy(), SETTINGS)
    bad = replace(HEALTHY, retention=0.1)
    events = [event for event in (guard.check(bad) for _ in range(6)) if event]
    assert len(events) == 2
    assert guard.gave_up
    assert "for the rest of the run" in events[1]
    assert "for the rest of the run" not in events[0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 4))
def test_it_always_returns_to_the_latest_healthy_state(retentions: list[float], patience: int) -> None:
    settings = GuardSettings(patience=patience, max_rollbacks=100)
    watched = policy(-1.0)
    guard = Guard(watched, settings)
    latest = -1.0
    for number, retention in enumerate(retentions):
        watched.theta.data.fill_(float(number))
        event = guard.check(replace(HEALTHY, retention=retention))
        if retention >= settings.min_retention:
            latest = float(number)
        if event is not None:
            assert watched.theta.tolist() == [latest, latest]


def test_state_goes_on() -> None:
    guard = Guard(policy(-1.0), SETTINGS)
    bad = replace(HEALTHY, retention=0.1)
    guard.check(bad)
    guard.check(bad)
    watched = policy(3.0)
    other = Guard(watched, SETTINGS)
    other.load_state_dict(guard.state_dict())
    assert other.check(bad) is not None
    assert watched.theta.tolist() == [-1.0, -1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_retention": 1.5}, r"guard.min_retention must lie in \[0, 1\], found 1.5"),
        ({"max_saturated": -0.1}, "guard.max_saturated"),
        ({"max_residual": 0.0}, r"guard\.max_residual must lie in"),
        ({"patience": 0}, r"guard\.patience must lie in"),
        ({"max_rollbacks": 0}, "guard.max_rollbacks"),
    ],
)
def test_settings_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GuardSettings(**arguments)


# In the learner


def test_a_collapsing_policy_is_rolled_back_while_it_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make(guard=GuardSettings(min_retention=1.0, patience=2, max_rollbacks=1))
    policy = learner.augnet.policy
    start = policy.theta.detach().clone()
    monkeypatch.setattr(learner_module, "highest_retention", lambda *hits: 0.3)
    events = [learner.update(*BATCH).event for _ in range(4)]
    assert [event is not None for event in events] == [False, True, False, False]
    assert "rolled back" in str(events[1])
    assert torch.equal(policy.theta, start)  # and stays there: the guard gave up
    assert not learner.optimizer.state


def test_nothing_is_passed_through_the_classifier_once_the_guard_gave_up() -> None:
    torch.manual_seed(0)
    model, passes = ToyNet(), []
    settings = GuardSettings(max_rollbacks=1)
    learned = Augmenter(model, ToyData().influence, OPS, learner=LearnerSettings(interval=1, warmup=0), guard=settings)
    model.register_forward_hook(lambda *_: passes.append(1))
    images, labels = blobs(24, 0, 0)
    assert learned.step(images, labels) is not None
    assert passes
    with torch.no_grad():
        model.head.bias.fill_(math.nan)  # rolled back at once
    update = learned.step(images, labels)
    assert update is not None
    assert "for the rest of the run" in str(update.event)
    passes.clear()
    assert [learned.step(images, labels) for _ in range(3)] == [None] * 3
    assert not learned.due(2)
    assert not passes


@pytest.mark.parametrize("broken", ["weights", "influence set"])
def test_numbers_that_are_not_finite_never_reach_the_policy(broken: str) -> None:
    learner = make()
    seen_healthy = learner.augnet.policy.theta.detach().clone()
    learner.update(*BATCH)
    assert not torch.equal(learner.augnet.policy.theta, seen_healthy)
    rows = len(learner.influence.bank.rows()[0])
    if broken == "weights":
        next(learner.capture.model.parameters()).data.fill_(math.nan)
        update = learner.update(*BATCH)
        assert len(learner.influence.bank.rows()[0]) == rows
    else:
        learner.influence.solution = Solution(torch.full((3, 6), math.nan), 1e-3, 1, "cg", True)
        learner.settings = replace(learner.settings, refresh=1000)
        update = learner.update(*BATCH)
        assert update.influence.isnan().any()
    assert "not finite" in str(update.event)
    assert torch.equal(learner.augnet.policy.theta, seen_healthy)


@pytest.mark.parametrize(("hits", "alarm"), [((0, 0), False), ((0, 4), False), ((8, 100), True), ((49, 100), False)])
def test_a_retention_is_small_only_beyond_doubt(hits: tuple[int, int], alarm: bool) -> None:
    health = replace(HEALTHY, retention=highest_retention(*hits))
    assert bool(health.symptoms(SETTINGS)) == alarm


def test_a_strong_start_is_no_collapse_and_controls_are_left_alone() -> None:
    for learner in (make(initial=0.99), make("identity_hessian")):
        assert [learner.update(*BATCH).event for _ in range(8)] == [None] * 8
        assert learner.guard.rollbacks == 0


def test_a_diverged_influence_set_keeps_the_old_solution() -> None:
    learner = make()
    solution = learner.update(*BATCH).solution
    images, labels = learner.influence.influence_set
    learner.influence.influence_set = (torch.full_like(images, math.nan), labels)
    update = learner.update(*BATCH)
    assert "not finite" in str(update.event)
    assert update.solution is solution
    assert update.rollbacks == 1
