"""The networks of the paper's experiments, built as their configurations say: size, evaluation, gradient."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from lightning_modules.classifier.models import build_model
from lightning_modules.learner.feature_capture import FeatureCapture, frozen
from lightning_modules.learner.head import find_last_linear

FOLDER = Path(__file__).parents[2] / "configs" / "paper"
MILLIONS = {  # as published by the authors, for ImageNet by timm and torchvision
    "cifar10_resnet56": 0.85,
    "cifar10_wrn28_10": 36.5,
    "cifar10_shakeshake26_2x96d": 26.2,
    "cifar10_pyramidnet272_shakedrop": 26.0,
    "imagenet_resnet50": 25.6,
    "imagenet_resnet200": 64.7,
    "mnist_1percent": 0.391,  # ours: 9 (32 + 32 64 + 64 128 + 128 256) + 2 (32 + 64 + 128 + 256) + 10 257
}
STOCHASTIC = ("cifar10_wrn28_10", "cifar10_shakeshake26_2x96d", "cifar10_pyramidnet272_shakedrop")
FAST = ("cifar10_resnet56", "mnist_1percent")


def shape_of(name: str) -> tuple[int, int, int]:
    """Channels and side of the images, smaller than ImageNet's, and the number of classes."""
    return {"cifar10": (3, 32, 10), "imagenet": (3, 64, 1000), "mnist": (1, 28, 10)}[name.split("_")[0]]


def images_for(name: str, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    channels, side, _ = shape_of(name)
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, side, side, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=[pytest.mark.slow, pytest.mark.long]) for name in MILLIONS],
)
def test_network_of_the_paper(name: str) -> None:
    """All that is asked of a network, on one that is built once: the largest takes seconds to build."""
    network = build(name)
    check_size(name, network)
    check_evaluation(name, network)
    check_training(name, network)
    check_gradient_of_every_weight(name, network)
    check_gradient_of_images(name, network)
    check_bfloat16_and_channels_last(name, network)


def build(name: str) -> nn.Module:
    """The network of a configuration, with the batch statistics of a few images, as if it had seen some training."""
    model = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["model"]
    channels, _, num_classes = shape_of(name)
    torch.manual_seed(0)
    network = build_model(model["model"], num_classes, channels, **(model["model_kwargs"] or {}))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches, of which this is the only one
            if not module.weight.any():
                nn.init.ones_(module.weight)  # timm starts the branches at zero
    with torch.no_grad():
        network.train()(images_for(name, 4))
    return network


def tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def check_unchanged(network: nn.Module, before: dict[str, Tensor]) -> None:
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def check_size(name: str, network: nn.Module) -> None:
    """To one per cent: Han et al. state 26.0 million for PyramidNet, pytorchcv's has 26.2."""
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert millions == pytest.approx(MILLIONS[name], rel=0.01)


def check_evaluation(name: str, network: nn.Module) -> None:
    """It ends in a linear layer with a bias, draws nothing, and repeats itself."""
    images, state, before = images_for(name, 2), torch.get_rng_state(), tensors(network)
    head = find_last_linear(network.eval(), images)
    assert type(head) is nn.Linear
    assert head.bias is not None
    with torch.no_grad():
        features, logits = FeatureCapture(network, head)(images)
        assert logits.shape == (2, shape_of(name)[2])
        torch.testing.assert_close(features @ head.weight.T + head.bias, logits, rtol=1e-4, atol=1e-4)
        assert torch.equal(network(images), logits)
    assert torch.equal(torch.get_rng_state(), state)
    check_unchanged(network, before)


def check_training(name: str, network: nn.Module) -> None:
    """It draws where it should; with fixed batch statistics, so that nothing else changes."""
    images = images_for(name, 2)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    with torch.no_grad():
        first, second = network(images), network(images)
    assert torch.equal(first, second) == (name not in STOCHASTIC)


def check_gradient_of_every_weight(name: str, network: nn.Module) -> None:
    images = images_for(name, 4)
    network.train().zero_grad()
    nn.functional.cross_entropy(network(images), torch.arange(4)).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
    moved = [bool((gradient != 0).any()) for gradient in gradients if gradient is not None]
    assert all(moved)
    network.zero_grad()


def check_gradient_of_images(name: str, network: nn.Module) -> None:
    """The frozen network, as the learner asks for it: the images get the gradient and nothing else does.

    Against a difference quotient in float64.
    """
    network.double()
    images = images_for(name, 1, torch.float64).requires_grad_()
    before, state = tensors(network), torch.get_rng_state()
    with frozen(network):
        head = find_last_linear(network, images.detach())
        capture = FeatureCapture(network, head)
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(head.in_features, generator=generator, dtype=torch.float64)

        def score(views: Tensor) -> Tensor:
            features, logits = capture(views)
            return (features @ weights).mean() + nn.functional.cross_entropy(logits, torch.tensor([1]))

        (gradient,) = torch.autograd.grad(score(images), images)
        direction = torch.randn(images.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            step = 1e-11 * direction  # so short that hardly a unit of 200 layers changes sides
            quotient = (score(images + step) - score(images - step)) / 2e-11
    assert float(quotient) != 0
    assert float((gradient * direction).sum()) == pytest.approx(float(quotient), rel=1e-3)
    assert all(parameter.grad is None for parameter in network.parameters())
    check_unchanged(network, before)
    assert torch.equal(torch.get_rng_state(), state)
    network.float()


def check_bfloat16_and_channels_last(name: str, network: nn.Module) -> None:
    """The configurations train this way: forward and backward, in both modes."""
    network.float().to(memory_format=torch.channels_last)
    images = images_for(name, 1)
    if name == "cifar10_wrn28_10":  # takes images of any size, and where bfloat16 is emulated it is the slowest
        images = images[..., :16, :16]
    images = images.contiguous(memory_format=torch.channels_last)
    for training in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            logits: Any = network.train(training)(images)
        logits.float().sum().backward()
        assert bool(logits.isfinite().all())
        assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)
    network.zero_grad()
