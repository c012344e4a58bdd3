import math

import pytest
import torch
from augnet_images import generator
from hypothesis import given, settings
from hypothesis import strategies as st

from augnet import AugNet, IntervalPolicy, RangePolicy, TransformSpace

SPACE = TransformSpace({"rotation": 90.0, "brightness": 0.4, "blur": 0.1})  # the last has no negative magnitudes
IMAGES = torch.zeros(4000, 3, 2, 2)


def policy(below: list[float], above: list[float]) -> IntervalPolicy:
    """With these ends, as shares of the bounds."""
    made = IntervalPolicy(SPACE).double()
    with torch.no_grad():
        made.theta.copy_(torch.logit(torch.tensor([below, above], dtype=torch.float64)))
    return made


def test_ends_and_description() -> None:
    made = policy([0.5, 0.125, 0.9], [0.25, 0.75, 0.5])
    described = made.describe(SPACE)
    found = {op: (facts["lowest"], facts["highest"], facts["half_width"]) for op, facts in described.items()}
    expected = {"rotation": (-45.0, 22.5, 33.75), "brightness": (-0.05, 0.3, 0.175), "blur": (0.0, 0.05, 0.05)}
    assert found == {op: pytest.approx(ends, rel=1e-6) for op, ends in expected.items()}
    assert made.shares(SPACE) == pytest.approx({"rotation": 0.5, "brightness": 0.75, "blur": 0.5}, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.01, 0.99), min_size=6, max_size=6), st.integers(0, 2**31))
def test_magnitudes_fill_their_intervals_evenly(ends: list[float], seed: int) -> None:
    made = policy(ends[:3], ends[3:])
    drawn = made.sample(IMAGES, generator=generator(seed)).detach()
    bounds = torch.tensor(SPACE.bounds, dtype=torch.float64)
    lowest = -bounds * torch.tensor([*ends[:2], 0.0])
    highest = bounds * torch.tensor(ends[3:])
    places = ((drawn - lowest) / (highest - lowest)).sort(dim=0).values
    assert (places > -1e-6).all()
    assert (places < 1 + 1e-6).all()
    even = torch.linspace(0, 1, len(places), dtype=torch.float64)[:, None]
    assert (places - even).abs().max() < 2.2 / math.sqrt(len(places))  # Kolmogorov-Smirnov, one in 10,000


def test_equal_ends_are_symmetric_ranges() -> None:
    ranges = RangePolicy(SPACE.bounds, 0.3, SPACE.signed)
    uniform = torch.rand(5, 3, generator=generator())
    torch.testing.assert_close(
        IntervalPolicy(SPACE, 0.3).magnitudes(IMAGES[:5], None, uniform), ranges.magnitudes(IMAGES[:5], None, uniform)
    )
    torch.testing.assert_close(IntervalPolicy(SPACE, 0.3).extent(), ranges.extent())


def test_gradient_reaches_both_ends_and_not_the_missing_one() -> None:
    made = policy([0.5, 0.2, 0.3], [0.4, 0.1, 0.6])
    uniform = torch.rand(7, 3, generator=generator(), dtype=torch.float64)
    weights = torch.linspace(-1, 1, 21, dtype=torch.float64).reshape(7, 3)
    (made.magnitudes(IMAGES[:7], None, uniform) * weights).sum().backward()
    share = torch.sigmoid(made.theta.detach())
    slope = made.bounds.double() * share * (1 - share)
    sign = torch.tensor([-1.0, -1.0, 0.0], dtype=torch.float64)
    below = (weights * (1 - uniform)).sum(0) * slope[0] * sign
    above = (weights * uniform).sum(0) * slope[1]
    assert made.theta.grad is not None
    torch.testing.assert_close(made.theta.grad, torch.stack([below, above]))


def test_an_interval_pays_for_its_length() -> None:
    made = policy([0.5, 0.1, 0.9], [0.25, 0.3, 0.5])
    cost = made.cost(kl=0.0, sparsity=2.0)
    assert cost is not None
    assert cost.item() == pytest.approx(2.0 * ((0.5 + 0.25) / 2 + (0.1 + 0.3) / 2 + 0.5))
    cost.backward()
    assert made.theta.grad is not None
    assert made.theta.grad[0, 2] == 0


@pytest.mark.parametrize("least", [0.0, 0.05, 0.3])
def test_ranges_are_held_open(least: float) -> None:
    for made in (policy([0.2, 0.01, 0.2], [0.001, 0.9, 0.2]), RangePolicy([1.0, 2.0], 0.2)):
        before = torch.sigmoid(made.theta.detach().clone())
        made.clamp_half_widths(least)
        torch.testing.assert_close(torch.sigmoid(made.theta.detach()), before.clamp(min=least))


def test_a_widened_interval_is_at_least_as_wide_as_the_probe_and_its_gradient_is_handed_on() -> None:
    made = policy([0.2, 0.5, 0.9], [0.001, 0.9, 0.2])
    narrow, described = made.half_widths().detach(), made.describe(SPACE)
    with made.widened(0.25):
        wide = made.half_widths()
        torch.testing.assert_close(wide.detach(), torch.maximum(narrow, 0.25 * made.bounds))
        wide.sum().backward()
    assert made.theta.grad is not None
    share = torch.sigmoid(made.theta.detach())
    torch.testing.assert_close(made.theta.grad, made.bounds * share * (1 - share))
    with pytest.raises(RuntimeError, match="inside"), made.widened(0.25):
        raise RuntimeError("inside")
    torch.testing.assert_close(made.half_widths().detach(), narrow)  # as before, whatever happened inside
    assert made.describe(SPACE) == described


def test_other_policies_have_nothing_to_hold_or_to_widen() -> None:
    net, images = AugNet.from_fields(1, 8, 8), torch.rand(2, 1, 8, 8)
    before = {name: value.clone() for name, value in net.policy.state_dict().items()}
    net.policy.clamp_half_widths(0.5)
    assert all(torch.equal(before[name], value) for name, value in net.policy.state_dict().items())
    draws = net.draw(images)
    unwidened = net(images, draws=draws)
    with net.policy.widened(0.5):
        assert torch.equal(net(images, draws=draws), unwidened)


@pytest.mark.parametrize("initial", [0.0, -0.1, 1.5])
def test_wrong_start(initial: float) -> None:
    with pytest.raises(ValueError, match=r"expected a fraction of the bounds in \(0, 1\]"):
        IntervalPolicy(SPACE, initial)
