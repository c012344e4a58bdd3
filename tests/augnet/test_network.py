import pytest
import torch
from augnet_images import generator, noise
from sweeps import kind_of, sweep
from torch import Tensor

from augnet import (
    AugNet,
    ClassConditionalPolicy,
    ConditionalPolicy,
    IntervalPolicy,
    MixturePolicy,
    RangePolicy,
    TransformSpace,
)
from augnet.ops import OPS, MixingOp
from augnet.policies import Policy

ALL = tuple(OPS)
NAMES = tuple(name for name, op in OPS.items() if not isinstance(op, MixingOp))
EXACT = tuple(name for name in NAMES if OPS[name].gradient == "exact" and name != "equalize")


def test_evaluation_returns_its_input_and_training_does_not() -> None:
    net, images = AugNet.from_ops(NAMES, initial=0.5), noise(4, 3, 8, 8, dtype=torch.float32)
    assert net.training
    assert (net(images, generator=generator()) - images).flatten(1).abs().amax(1).min() > 0.02
    state = torch.get_rng_state()
    assert net.eval()(images) is images
    assert torch.equal(torch.get_rng_state(), state)
    assert net.train()(images) is not images


def test_augmenting_is_applying_a_sample() -> None:
    net, images, source = AugNet.from_ops(NAMES), noise(4, 3, 8, 8, dtype=torch.float32), generator()
    magnitudes = net.sample(images, generator=source)
    assert magnitudes.shape == (4, len(NAMES))
    assert torch.equal(net(images, generator=generator()), net.space.apply(images, magnitudes, generator=source))


def test_the_generator_alone_decides_the_images() -> None:
    net, images = AugNet.from_ops(NAMES), noise(4, 3, 8, 8, dtype=torch.float32)
    state = torch.get_rng_state()
    first, same, other = (net(images, generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@sweep("name", NAMES, by=kind_of)
def test_equal_images_come_out_different(name: str) -> None:
    first, second = AugNet.from_ops([name], initial=1.0)(
        noise(1, 3, 24, 22, low=0.1, high=0.9).expand(2, -1, -1, -1), generator=generator(1)
    )
    assert (first - second).abs().max() > 0.01


def test_from_ops_is_a_range_for_each_op_of_the_space() -> None:
    net = AugNet.from_ops({"hue": 20.0, "rotation": 45.0}, initial=0.2)
    assert isinstance(net.policy, RangePolicy)
    assert net.space.names == ("rotation", "hue")
    torch.testing.assert_close(net.policy.half_widths(), torch.tensor([9.0, 4.0]))


def test_describe() -> None:
    net = AugNet.from_ops({"brightness": 0.2, "rotation": 45.0, "scale": 0.7}, initial=0.2)
    with torch.no_grad():
        net.policy.theta.copy_(torch.tensor([0.0, -1.0, 2.0]))
    described = net.describe()
    assert list(described) == ["rotation", "scale", "brightness"]
    assert described == {
        "rotation": {"half_width": 22.5, "unit": "degrees", "bound": 45.0},
        "scale": {"half_width": 0.188259, "unit": "octaves", "bound": 0.7},
        "brightness": {"half_width": 0.176159, "unit": "fraction of the full range", "bound": 0.2},
    }


@pytest.mark.slow
def test_gradient_to_the_policy_by_finite_differences() -> None:
    net, images = AugNet.from_ops(EXACT, initial=0.3).double(), noise(2, 3, 3, 4, low=0.25, high=0.75)

    def augmented(theta: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(net, {"policy.theta": theta}, (images,), {"generator": generator()})
        return result

    assert torch.autograd.gradcheck(augmented, (net.policy.theta,))


def test_a_step_reaches_every_range() -> None:
    net, images = AugNet.from_ops(ALL), noise(8, 3, 24, 22, low=0.05, high=0.95, dtype=torch.float32)
    before = net.policy.half_widths().detach()
    result, _ = net(images, torch.eye(8), generator=generator())
    (result * noise(3, 24, 22, low=-1, dtype=torch.float32)).sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert (net.policy.half_widths() != before).all()


def test_one_channel() -> None:
    images = noise(4, 1, 8, 8, dtype=torch.float32)
    assert AugNet.from_ops(["rotation", "contrast"])(images).shape == images.shape
    with pytest.raises(ValueError, match="hue need images with 3 channels"):
        AugNet(TransformSpace(["hue"]), RangePolicy([60.0]))(images)


PARTS = {
    "labels": torch.tensor([[1.0, 0.0], [0.3, 0.7]]),
    "masks": torch.ones(2, 8, 8, dtype=torch.int64),
    "boxes": torch.tensor([[[1.0, 2, 4, 5]], [[0.0, 0, 8, 8]]]),
}


@pytest.mark.parametrize("given", [(), ("labels",), ("masks",), ("boxes",), ("labels", "boxes"), tuple(PARTS)])
def test_what_is_given_comes_back_in_order(given: tuple[str, ...]) -> None:
    net, images = AugNet.from_ops(["rotation", "hue"], initial=1.0), noise(2, 3, 8, 8, dtype=torch.float32)
    parts = {name: PARTS[name] for name in given}
    alone = net(images, generator=generator())
    result = net(images, generator=generator(), **parts)
    images_back, *others = result if given else (result,)
    assert isinstance(result, tuple) == bool(given)
    assert torch.equal(images_back, alone)
    assert [other.shape for other in others] == [part.shape for part in parts.values()]
    for name, other in zip(given, others, strict=True):
        assert torch.equal(other, PARTS[name]) == (name == "labels")  # class shares stay, places move
    still = net.eval()(images, **parts)
    for back, part in zip(still if given else (still,), (images, *parts.values()), strict=True):
        assert back is part


def test_class_numbers_pass_where_nothing_is_mixed() -> None:
    net, labels = AugNet.from_ops(["rotation"]), torch.tensor([3, 1])
    _, back = net(noise(2, 3, 8, 8), labels)
    assert back is labels


def test_mixing_needs_labels_that_can_be_mixed() -> None:
    net, images = AugNet.from_ops(["mixup", "cutmix"], initial=1.0), noise(4, 3, 8, 8)
    with pytest.raises(ValueError, match=r"this policy mixes images: call it with their labels \[B, K\] too"):
        net(images)
    with pytest.raises(ValueError, match=r"ops: cutmix, mixup mix labels: expected probabilities \[B, K\], found"):
        net(images, torch.arange(4))
    _, labels = net(images, torch.eye(4, dtype=torch.float64), generator=generator())
    assert (labels.diagonal() < 1).all()
    torch.testing.assert_close(labels.sum(1), torch.ones(4).double())
    assert net.eval()(images) is images


@pytest.mark.parametrize("kind", ["ranges", "intervals", "mixture", "conditional", "class_conditional"])
def test_an_empty_batch_leaves_a_policy_as_it_was(kind: str) -> None:
    space = TransformSpace(["rotation", "brightness"])
    policies: dict[str, Policy] = {
        "ranges": RangePolicy(space.bounds, signed=space.signed),
        "mixture": MixturePolicy.over(space, ops_per_image=2),
        "conditional": ConditionalPolicy(space, 3),
        "class_conditional": ClassConditionalPolicy(space, 4),
        "intervals": IntervalPolicy(space),
    }
    net = AugNet(space, policies[kind])
    before = net.describe()
    images, _ = net(torch.zeros(0, 3, 8, 8), torch.zeros(0, dtype=torch.long))
    assert images.shape == (0, 3, 8, 8)
    assert net.describe() == before


def test_given_draws_are_used() -> None:
    net = AugNet.from_ops(["crop", "noise", "rotation"])
    images = noise(3, 3, 8, 8)
    draws = net.draw(images)
    first, second = net(images, draws=draws), net(images, draws=draws)
    assert torch.equal(first, second)
    assert not torch.equal(first, net(images))
