"""The field network: the contract of AugNet over FieldSpace and FieldPolicy, and gradients to E and G."""

import copy
import json

import pytest
import torch
from augnet_images import noise
from torch import Tensor, nn

from augnet import AugNet, FieldPolicy, FieldSpace, TransformSpace
from augnet.field import Composition, as_fields, smooth_displacement, transform
from augnet.ops.base import uniform_noise

FieldAugNet = AugNet[FieldPolicy, FieldSpace]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(
    channels: int = 3, height: int = 8, width: int = 8, strength: float = 0.05, composition: Composition = "parallel"
) -> FieldAugNet:
    """A network away from the identity, the same on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = AugNet.from_fields(channels, height, width, composition)
        nn.init.normal_(_last(net).weight, std=strength)
    return net


def _last(net: FieldAugNet) -> nn.ConvTranspose2d:
    layer = net.policy.decoder.layers[-1]
    assert isinstance(layer, nn.ConvTranspose2d)
    return layer


def test_evaluation_returns_its_input_and_training_does_not() -> None:
    net, images = network(), noise(4, 3, 8, 8, dtype=torch.float32)
    assert net.training
    assert (net(images, generator=generator()) - images).flatten(1).abs().amax(1).min() > 0.02
    state = torch.get_rng_state()
    assert net.eval()(images) is images
    assert torch.equal(torch.get_rng_state(), state)


def test_a_new_network_is_near_the_identity() -> None:
    images = noise(4, 3, 32, 32, dtype=torch.float32)
    change = (AugNet.from_fields(3, 32, 32)(images) - images).abs()
    assert 0 < change.mean() < 0.02


def test_a_network_without_weights_in_its_last_layer_is_exactly_the_identity() -> None:
    net, images = AugNet.from_fields(3, 9, 14), noise(2, 3, 9, 14, dtype=torch.float32)
    nn.init.zeros_(_last(net).weight)
    assert torch.equal(net(images), images)


def test_augmenting_is_applying_a_sample() -> None:
    net, images = network(), noise(4, 3, 8, 8, dtype=torch.float32)
    fields = net.sample(images, generator=generator())
    assert torch.equal(net(images, generator=generator()), net.space.apply(images, fields))
    codes = net.policy.codes(images, uniform_noise(net.policy.numbers_per_image)(images, generator()))
    assert torch.equal(net.policy.decoder(codes), fields)
    kept = codes != 0
    torch.testing.assert_close(codes[kept], 2 * net.policy.encoder(images)[kept])
    assert codes.abs().max() <= 2


def test_the_generator_alone_decides_the_images() -> None:
    net, images = network(), noise(4, 3, 8, 8, dtype=torch.float32)
    state = torch.get_rng_state()
    first, same, other = (net(images, generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_equal_images_come_out_different() -> None:
    first, second = network()(noise(1, 3, 8, 8, dtype=torch.float32).expand(2, -1, -1, -1), generator=generator())
    assert (first - second).abs().max() > 0.01


@pytest.mark.parametrize("composition", ["parallel", "serial"])
def test_the_module_is_the_clamped_literal_form(composition: Composition) -> None:
    net, images = network(strength=0.5, composition=composition), noise(4, 3, 8, 8, dtype=torch.float32)
    fields = net.sample(images, generator=generator())
    literal = transform(images, as_fields(fields, 3), composition)
    assert literal.min() < 0
    assert literal.max() > 1
    torch.testing.assert_close(net.space.apply(images, fields), literal.clamp(0, 1))


def test_labels_come_back_and_masks_and_boxes_are_refused() -> None:
    net, images, labels = network(), noise(2, 3, 8, 8, dtype=torch.float32), torch.tensor([1, 0])
    assert net(images, labels)[1] is labels
    with pytest.raises(ValueError, match="masks and boxes cannot follow"):
        net(images, masks=torch.zeros(2, 8, 8))
    with pytest.raises(ValueError, match="masks and boxes cannot follow"):
        net(images, boxes=torch.zeros(2, 1, 4))
    assert net.eval()(images, labels) == (images, labels)


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 20, 13), (1, 28, 28), (3, 5, 40)])
def test_sizes_and_channels(size: tuple[int, int, int]) -> None:
    images = noise(2, *size, dtype=torch.float32)
    net = network(*size)
    augmented = net(images, generator=generator())
    assert augmented.shape == images.shape
    assert net(images[:0]).shape == (0, *size)
    assert not torch.equal(augmented, images)


def test_appearance_is_the_default_for_color_and_a_choice_elsewhere() -> None:
    assert _last(AugNet.from_fields(3, 8, 8)).out_channels == 18
    assert _last(AugNet.from_fields(1, 8, 8)).out_channels == 6
    assert _last(AugNet.from_fields(1, 8, 8, appearance=True)).out_channels == 8
    assert _last(AugNet.from_fields(4, 8, 8, appearance=True)).out_channels == 26
    with pytest.raises(ValueError, match="4x4 filter"):
        AugNet.from_fields(4, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "at least 1 channel"),
        ({"composition": "both"}, "parallel"),
        ({"dropout": 1.0}, "paper's is 0.5"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugNet.from_fields(**{"channels": 3, "height": 8, "width": 8, **arguments})


def test_wrong_images_and_codes() -> None:
    net = network()
    with pytest.raises(ValueError, match=r"expected images \[B, 3, 8, 8\], found \(2, 3, 9, 8\)"):
        net(torch.zeros(2, 3, 9, 8))
    with pytest.raises(ValueError, match="divide 8-bit ones by 255"):
        net(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"expected fields \[2, 18, 8, 8\], found \(2, 6, 8, 8\)"):
        net.space.apply(torch.zeros(2, 3, 8, 8), torch.zeros(2, 6, 8, 8))
    with pytest.raises(ValueError, match="for images with 3 channels, found 1"):
        net.space.check_channels(1)
    with pytest.raises(ValueError, match="expected a FieldSpace, found TransformSpace"):
        FieldPolicy.from_config({"dropout": 0.5}, TransformSpace(["rotation"]))


def test_configuration_and_weights_are_the_whole_network() -> None:
    net, images = AugNet.from_fields(2, 9, 7, "serial", True, 0.25), noise(3, 2, 9, 7, dtype=torch.float32)
    space = FieldSpace.from_config(json.loads(json.dumps(net.space.config())))
    copied = AugNet(space, FieldPolicy.from_config(json.loads(json.dumps(net.policy.config())), space))
    assert not torch.equal(copied(images, generator=generator()), net(images, generator=generator()))
    copied.load_state_dict(net.state_dict())
    assert copied.space.config() == net.space.config()
    assert torch.equal(copied(images, generator=generator()), net(images, generator=generator()))


def test_describe_measures_the_latest_batch_it_was_learned_on() -> None:
    net, images = network(strength=0.01), noise(6, 3, 8, 8, dtype=torch.float32)
    with torch.no_grad():
        net(images)
    assert [fact["value"] for fact in net.describe().values()] == [0, 0, 0]
    fields = as_fields(net.sample(images, generator=generator()), 3)
    with torch.no_grad():
        net(images, generator=generator(1))
    lengths = smooth_displacement(fields).square().sum(1).sqrt()
    facts = {name: fact["value"] for name, fact in net.describe().items()}
    assert facts["displacement"] == pytest.approx(lengths.mean().item(), rel=1e-4)
    still = transform(images, fields._replace(matrix=0 * fields.matrix, shift=0 * fields.shift))
    assert facts["appearance"] == pytest.approx((still - images).abs().mean().item(), rel=1e-4)
    assert facts["saturation"] == 0
    assert net.describe()["displacement"]["unit"] == "pixels"
    json.dumps(net.describe(), allow_nan=False)
    shares = net.policy.shares(net.space)
    assert shares == {**facts, "displacement": pytest.approx(facts["displacement"] / 8)}
    assert max(shares.values()) < 1
    net.policy.latest.fill_(50.0)
    assert set(net.policy.shares(net.space).values()) == {1.0}


def test_describe_counts_saturated_codes() -> None:
    net, images = network(), noise(50, 3, 8, 8, dtype=torch.float32)
    dense = net.policy.encoder.stack[-1]
    assert isinstance(dense, nn.Linear)
    nn.init.zeros_(dense.weight)
    with torch.no_grad():  # three of four components beyond 0.95
        dense.bias.copy_(torch.tensor([2.0, -3.0, 1.9, 1.7]).repeat(32))
    net(images, generator=generator())
    assert net.describe()["saturation"]["value"] == pytest.approx(0.75, abs=0.04)


def test_gradients_to_encoder_and_decoder_by_finite_differences() -> None:
    net, images = network(3, 4, 5).double(), noise(2, 3, 4, 5, low=0.35, high=0.65)
    names, parameters = zip(*net.named_parameters(), strict=True)
    weights = noise(2, 3, 4, 5, low=-1)

    def loss(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        augmented: Tensor = torch.func.functional_call(net, given, (images,), {"generator": generator()})
        return (augmented * weights).sum()

    assert torch.autograd.gradcheck(loss, parameters, fast_mode=True)
    gradients = torch.autograd.grad(loss(*parameters), parameters)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_a_step_reaches_encoder_and_decoder_from_the_start() -> None:
    net, images = AugNet.from_fields(3, 8, 8), noise(8, 3, 8, 8, low=0.25, high=0.75, dtype=torch.float32)
    before = copy.deepcopy(net.state_dict())
    (net(images) * noise(3, 8, 8, low=-1, dtype=torch.float32)).sum().backward()
    torch.optim.SGD(net.parameters(), lr=1.0).step()
    assert all((value != before[name]).any() for name, value in net.named_parameters())


def test_precision_follows_the_images_and_autocast_changes_nothing() -> None:
    net, images = network(), noise(4, 3, 8, 8)
    precise = copy.deepcopy(net).double()(images, generator=generator())
    assert precise.dtype == torch.float64
    single = net(images.float(), generator=generator())
    torch.testing.assert_close(single.double(), precise, atol=1e-5, rtol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net(images.float(), generator=generator()), single)
    rounded = images.bfloat16()
    half = net(rounded, generator=generator())
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, net(rounded.float(), generator=generator()).bfloat16())
    assert net(images, generator=generator()).dtype == torch.float64


def test_images_carry_gradient() -> None:
    net = network(1, 4, 4).double()
    fields = net.policy.decoder(noise(1, 128, low=-1)).detach()
    images = noise(1, 1, 4, 4, low=0.3, high=0.7).requires_grad_()
    assert torch.autograd.gradcheck(lambda pictures: net.space.apply(pictures, fields), (images,))
