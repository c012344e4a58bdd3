import math
from collections.abc import Sequence

import pytest
import torch
from augnet_images import generator
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from augnet import AugNet, ClassConditionalPolicy, RangePolicy, TransformSpace

BOUNDS = (90.0, 0.2, 1.0)


def images(count: int) -> Tensor:
    """Only their number matters."""
    return torch.zeros(count, 3, 2, 2)


def policy(*theta: float, bounds: tuple[float, ...] = BOUNDS, signed: Sequence[bool] | None = None) -> RangePolicy:
    made = RangePolicy(bounds, signed=signed)
    with torch.no_grad():
        made.theta.copy_(torch.tensor(theta))
    return made


def sigmoid(theta: float) -> float:
    return 1 / (1 + math.exp(-theta))


@pytest.mark.parametrize("initial", [0.01, 0.1, 0.5, 0.99, 1.0])
def test_half_widths_at_the_start(initial: float) -> None:
    made = RangePolicy(BOUNDS, initial)
    torch.testing.assert_close(made.half_widths(), initial * torch.tensor(BOUNDS))


def test_half_width_is_the_bound_times_the_sigmoid_of_theta() -> None:
    expected = [bound * sigmoid(theta) for bound, theta in zip(BOUNDS, (-2.0, 0.0, 3.0), strict=True)]
    assert policy(-2.0, 0.0, 3.0).half_widths().tolist() == pytest.approx(expected, rel=1e-6)


def test_theta_is_learned_and_bounds_are_stored() -> None:
    made = RangePolicy(BOUNDS)
    assert [name for name, _ in made.named_parameters()] == ["theta"]
    assert set(made.state_dict()) == {"theta", "bounds"}


@settings(deadline=None)
@given(
    ops=st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(-20, 20), st.booleans()), min_size=1, max_size=6),
    count=st.integers(0, 40),
    seed=st.integers(0, 2**31),
)
def test_samples_are_within_the_half_widths(ops: list[tuple[float, float, bool]], count: int, seed: int) -> None:
    bounds, theta, signed = zip(*ops, strict=True)
    made = policy(*theta, bounds=bounds, signed=signed)
    sample = made.sample(images(count), generator=generator(seed))
    assert sample.shape == (count, len(ops))
    assert (sample.abs() <= made.half_widths()).all()
    assert (sample[:, ~torch.tensor(signed)] >= 0).all()
    assert (made.half_widths() <= made.bounds).all()


def test_samples_are_uniform_and_independent() -> None:
    count = 20_000
    made = policy(-2.0, 0.0, 3.0)
    positive = policy(-2.0, 0.0, 3.0, signed=[False] * 3)
    assert torch.equal(made.lowest, -torch.ones(3))
    both = [each.sample(images(count), generator=generator(1)) for each in (made, positive)]
    torch.testing.assert_close(both[0], 2 * both[1] - made.half_widths(), rtol=1e-5, atol=1e-5)  # from 0 to the width
    fractions = (made.sample(images(count), generator=generator(1)) / made.half_widths()).detach().double()
    expected = torch.linspace(0, 1, count, dtype=torch.float64)[:, None]
    distance = (fractions.sort(dim=0).values / 2 + 0.5 - expected).abs().amax(dim=0)
    assert (distance < 1.63 / math.sqrt(count)).all(), distance  # Kolmogorov-Smirnov at 1 %
    correlation = torch.corrcoef(torch.cat([fractions[1:], fractions[:-1]], dim=1).T) - torch.eye(6)
    assert correlation.abs().max() < 4 / math.sqrt(count)  # between ops, and between neighboring images


@pytest.mark.parametrize("signed", [[True, True, True], [True, False, False]])
def test_gradient_of_a_sample_equals_its_closed_form(signed: list[bool]) -> None:
    made = policy(-2.0, 0.0, 3.0, signed=signed)
    sample = made.sample(images(5), generator=generator())
    weights = torch.linspace(-1, 1, 15).reshape(5, 3)
    (gradient,) = torch.autograd.grad((sample * weights).sum(), made.theta)
    uniform = (sample / made.half_widths()).detach()
    slope = torch.tensor([bound * sigmoid(t) * (1 - sigmoid(t)) for bound, t in zip(BOUNDS, (-2, 0, 3), strict=True)])
    torch.testing.assert_close(gradient, (weights * uniform).sum(0) * slope)
    assert (gradient != 0).all()


def test_the_uniform_policy_is_exact_and_stays_finite() -> None:
    made = RangePolicy(BOUNDS, initial=1.0)
    assert made.half_widths().tolist() == made.bounds.tolist()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.1)
    for _ in range(3):
        sample = made.sample(images(4))
        assert sample.isfinite().all()
        sample.square().sum().backward()
        assert made.theta.grad is not None
        assert made.theta.grad.tolist() == [0, 0, 0]
        optimizer.step()
    assert made.half_widths().tolist() == made.bounds.tolist()


def test_the_generator_alone_decides_the_draw() -> None:
    made = RangePolicy(BOUNDS)
    state = torch.get_rng_state()
    first, same, other = (made.sample(images(4), generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, same)
    assert not (first == other).any()


def test_without_a_generator_the_global_one_draws() -> None:
    made = RangePolicy(BOUNDS)

    def draw() -> Tensor:
        torch.manual_seed(3)
        return made.sample(images(4))

    with torch.random.fork_rng():
        assert torch.equal(draw(), draw())
        assert not torch.equal(draw(), made.sample(images(4)))


def test_each_image_has_its_own_draw() -> None:
    assert len(RangePolicy(BOUNDS).sample(images(50), generator=generator()).unique(dim=0)) == 50


@pytest.mark.parametrize("initial", [0.0, -0.1, 1.1, math.nan, math.inf])
def test_initial_out_of_range(initial: float) -> None:
    with pytest.raises(ValueError, match=r"initial: expected a fraction of the bounds in \(0, 1\], found"):
        RangePolicy(BOUNDS, initial)


def test_the_signs_are_those_of_the_space_and_are_not_stored() -> None:
    net = AugNet.from_ops(["rotation", "blur", "cutout"], initial=1.0)
    sample = net.sample(images(200), generator=generator())
    assert (sample[:, 1:] >= 0).all()
    assert (sample[:, 0] < 0).any()
    assert set(net.policy.state_dict()) == {"theta", "bounds"}


def test_labels_are_not_looked_at() -> None:
    made = RangePolicy(BOUNDS)
    first, second = (made.sample(images(4), labels, generator()) for labels in (None, torch.arange(4)))
    assert torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types(dtype: torch.dtype) -> None:
    sample = RangePolicy(BOUNDS, signed=[True, False, True]).to(dtype).sample(images(3), generator=generator())
    assert sample.dtype == dtype


def test_the_extent_is_the_sum_of_the_shares_and_has_its_gradient() -> None:
    ranges = RangePolicy(BOUNDS, 0.3).double()
    space = TransformSpace(["rotation", "scale"])
    classes = ClassConditionalPolicy(space, 4, 0.3).double()
    for made in (ranges, classes):
        with torch.no_grad():
            made.theta.add_(torch.randn(made.theta.shape, dtype=torch.float64))
        shares = (made.half_widths() / made.bounds).reshape(-1, made.bounds.shape[0]).mean(dim=0)
        torch.testing.assert_close(made.extent(), shares.sum())
        (gradient,) = torch.autograd.grad(made.extent(), made.theta)
        share = torch.sigmoid(made.theta)
        count = 1 if made.theta.ndim == 1 else len(made.theta)
        torch.testing.assert_close(gradient, share * (1 - share) / count)
