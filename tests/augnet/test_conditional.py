from typing import Any

import pytest
import torch
from augnet_images import noise
from torch import Tensor

from augnet import AugNet, ClassConditionalPolicy, ConditionalPolicy, RangePolicy, TransformSpace
from augnet.encoder import Encoder, class_weights

SPACE = TransformSpace({"rotation": 30.0, "scale": 0.7, "grayscale": 0.5})
LABELS = torch.tensor([0, 1, 2, 1, 0, 2])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6, side: int = 9, **options: Any) -> Tensor:
    return noise(count, 3, side, side, **options)


def conditional(num_classes: int = 0, spread: float = 0.5) -> ConditionalPolicy:
    """A float64 policy whose head looks at the features."""
    torch.manual_seed(0)
    policy = ConditionalPolicy(SPACE, 3, num_classes).double()
    torch.nn.init.normal_(policy.encoder.head.weight, std=spread)
    torch.nn.init.normal_(policy.encoder.head.bias, std=spread)
    return policy


def by_class(seed: int = 0) -> ClassConditionalPolicy:
    policy = ClassConditionalPolicy(SPACE, 3)
    torch.nn.init.normal_(policy.theta, generator=generator(seed))
    return policy


# By image


@pytest.mark.parametrize("num_classes", [0, 3])
def test_starts_as_the_range_policy(num_classes: int) -> None:
    policy = ConditionalPolicy(SPACE, 3, num_classes, initial=0.2)
    expected = RangePolicy(SPACE.bounds, 0.2, SPACE.signed).sample(images(), None, generator())
    found = policy.sample(images(dtype=torch.float32), LABELS, generator())
    torch.testing.assert_close(found, expected)
    described = policy.describe(SPACE)
    assert described["rotation"] == {"half_width": 6.0, "shift": 0.0, "unit": "degrees", "bound": 30.0}


def test_every_image_has_an_interval_within_the_bounds() -> None:
    policy = conditional(spread=4.0)
    half_widths, shifts = policy.intervals(images(40))
    bounds = torch.tensor(SPACE.bounds)
    assert (half_widths > 0).all()
    assert (half_widths + shifts.abs() <= bounds + 1e-6).all()
    assert (half_widths.std(dim=0) > 1e-4 * bounds).all()
    assert (shifts.std(dim=0) > 1e-4 * bounds)[:2].all()
    assert not shifts[:, 2].any()  # gray has no negative shares
    for seed in range(20):
        sample = policy.sample(images(40), None, generator(seed))
        assert ((sample - shifts).abs() <= half_widths).all()
        assert (sample[:, 2] >= 0).all()


@pytest.mark.parametrize("num_classes", [0, 3])
def test_gradients_by_finite_differences(num_classes: int) -> None:
    policy, pixels = conditional(num_classes), images(3, 6)
    head = policy.encoder.head

    def sample(pixels: Tensor, weight: Tensor, bias: Tensor, kernel: Tensor) -> Tensor:
        values = {"encoder.head.weight": weight, "encoder.head.bias": bias, "encoder.body.6.weight": kernel}
        arguments = pixels, LABELS[:3], generator()
        result: Tensor = torch.func.functional_call(
            Sampler(policy), {f"policy.{k}": v for k, v in values.items()}, arguments
        )
        return result

    kernel = policy.encoder.body[6].weight
    assert isinstance(kernel, Tensor)
    inputs = [value.detach().clone().requires_grad_() for value in (pixels, head.weight, head.bias, kernel)]
    assert torch.autograd.gradcheck(sample, inputs, fast_mode=True)
    gradients = torch.autograd.grad(sample(*inputs).square().sum(), inputs)
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients)


class Sampler(torch.nn.Module):
    """A policy whose `forward` is `sample`."""

    def __init__(self, policy: ConditionalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, *arguments: Any) -> Tensor:
        return self.policy.sample(*arguments)


def test_the_encoder_learns_from_the_start() -> None:
    """The zero head gets a gradient first, and with it everything behind it."""
    policy = ConditionalPolicy(SPACE, 3)
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        policy.sample(images(dtype=torch.float32), None, generator()).square().sum().backward()
        optimizer.step()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name


def test_description_follows_what_it_is_learned_on() -> None:
    policy = conditional()
    before = policy.describe(SPACE)
    with torch.no_grad():
        policy.sample(images(), None, generator())
    assert policy.describe(SPACE) == before
    for _ in range(200):
        policy.sample(images(), None, generator())
    half_widths, shifts = policy.intervals(images())
    for index, (name, facts) in enumerate(policy.describe(SPACE).items()):
        assert facts["half_width"] == pytest.approx(half_widths[:, index].mean().item(), rel=1e-4), name
        assert facts["shift"] == pytest.approx(shifts[:, index].abs().mean().item(), rel=1e-4), name


def test_autocast_does_not_round_the_magnitudes() -> None:
    net = AugNet(SPACE, conditional().float())
    pixels = images(dtype=torch.float32)
    expected = net.sample(pixels, None, generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net.sample(pixels, None, generator()), expected)


@pytest.mark.parametrize("side", [1, 5, 32])
def test_images_of_any_size(side: int) -> None:
    assert Encoder(1, 4)(torch.rand(2, 1, side, side + 3)).shape == (2, 4)


# By class


def test_each_class_has_its_range() -> None:
    policy = by_class()
    sample = policy.sample(torch.zeros(6, 1, 1, 1), LABELS, generator())
    widths = policy.half_widths()
    for number, label in enumerate(LABELS):
        alone = RangePolicy(SPACE.bounds, signed=SPACE.signed)
        with torch.no_grad():
            alone.theta.copy_(policy.theta[label])
        assert torch.equal(alone.half_widths(), widths[label])
        assert torch.equal(sample[number], alone.sample(torch.zeros(6, 1, 1, 1), None, generator())[number])


def test_mixed_labels_mix_the_ranges() -> None:
    policy = by_class()
    hard = torch.nn.functional.one_hot(LABELS, 3).float()
    shape = torch.zeros(6, 1, 1, 1)
    assert torch.equal(policy.sample(shape, hard, generator()), policy.sample(shape, LABELS, generator()))
    half = policy.sample(shape, torch.tensor([[0.5, 0.5, 0.0]]).expand(6, 3), generator())
    ends = [policy.sample(shape, torch.full((6,), label), generator()) for label in (0, 1)]
    torch.testing.assert_close(half, (ends[0] + ends[1]) / 2)


def test_what_one_class_learns_leaves_the_others_alone() -> None:
    """Same seed, same pixels: bit for bit."""
    pixels = images(side=12, dtype=torch.float32)
    first, second = AugNet(SPACE, by_class()), AugNet(SPACE, by_class())
    with torch.no_grad():
        second.policy.theta[1] += 2.0
        left, right = (net(pixels, LABELS, generator=generator())[0] for net in (first, second))
    changed = (left != right).flatten(1).any(dim=1)
    assert torch.equal(changed, LABELS == 1)


def test_gradient_reaches_the_classes_of_the_batch_alone() -> None:
    policy = by_class()
    policy.sample(torch.zeros(4, 1, 1, 1), torch.tensor([0, 2, 2, 0]), generator()).sum().backward()
    assert policy.theta.grad is not None
    assert policy.theta.grad.abs().amin(dim=1)[[0, 2]].min() > 0
    assert not policy.theta.grad[1].any()


def test_description_by_class() -> None:
    policy = by_class()
    facts = policy.describe(SPACE)["scale"]
    expected = (0.7 * torch.sigmoid(policy.theta[:, 1])).tolist()
    assert facts["half_widths"] == pytest.approx(expected, rel=1e-5)
    assert facts["half_width"] == pytest.approx(sum(expected) / 3, rel=1e-5)
    assert policy.shares(SPACE)["scale"] == pytest.approx(facts["half_width"] / 0.7)


# Labels


def test_labels_are_needed() -> None:
    for net in (AugNet(SPACE, by_class()), AugNet(SPACE, conditional(3).float())):
        with pytest.raises(ValueError, match="depends on the class: call it with the labels too"):
            net(images(dtype=torch.float32))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), r"expected labels in 0\.\.2, found 0\.\.3"),
        (torch.tensor([-1, 0]), r"expected labels in 0\.\.2, found -1\.\.0"),
        (torch.rand(2, 4), r"expected probabilities of 3 classes, found \(2, 4\)"),
        (torch.rand(2), "expected probabilities of 3 classes"),
    ],
)
def test_labels_of_other_classes(labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_weights(labels, 3)


@pytest.mark.parametrize("initial", [0.0, 1.1])
def test_starts_that_make_no_sense(initial: float) -> None:
    for make in (
        lambda: ConditionalPolicy(SPACE, 3, initial=initial),
        lambda: ClassConditionalPolicy(SPACE, 3, initial),
    ):
        with pytest.raises(ValueError, match=r"initial: expected a fraction of the bounds in \(0, 1\], found"):
            make()
    with pytest.raises(ValueError, match="num_classes: expected at least 1, found 0"):
        ClassConditionalPolicy(SPACE, 0)
