"""The random units of the paper's networks: what they draw, and that evaluation is the mean of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorchcv.models.shakeshakeresnet_cifar import ShakeShakeResUnit
from torch import Tensor, nn

from lightning_modules.classifier.models import ShakeDrop, WideResNet, build_model, pyramidnet_shakedrop

COUNT = 4000


def factors(keep: float) -> tuple[Tensor, Tensor]:
    """What each of many images is multiplied by, forwards and backwards, `[N]`."""
    torch.manual_seed(0)
    branch = torch.ones(COUNT, 2, 3, 3, requires_grad=True)
    shaken = ShakeDrop(keep)(branch)
    (gradient,) = torch.autograd.grad(shaken.sum(), branch)
    for found in (shaken.detach(), gradient):
        assert torch.equal(found, found[:, :1, :1, :1].expand_as(found))  # one draw for an image
    return shaken.detach()[:, 0, 0, 0], gradient[:, 0, 0, 0]


def assert_uniform(found: Tensor, low: float, high: float) -> None:
    """Kolmogorov and Smirnov: of equal distributions this happens to one in 1,000 samples."""
    expected = torch.linspace(0, 1, len(found))
    assert ((found.sort().values - low) / (high - low) - expected).abs().max() < 1.95 / len(found) ** 0.5


@pytest.mark.parametrize("keep", [0.9, 0.5])
def test_shake_drop_draws_what_the_paper_says(keep: float) -> None:
    forward, backward = factors(keep)
    kept = forward == 1
    assert float(kept.float().mean()) == pytest.approx(keep, abs=4 * 0.5 / COUNT**0.5)
    assert torch.equal(backward == 1, kept)  # the same gate both ways
    assert_uniform(forward[~kept], -1, 1)
    assert_uniform(backward[~kept], 0, 1)
    together = torch.stack([forward[~kept], backward[~kept]])
    assert abs(float(torch.corrcoef(together)[0, 1])) < 4 / len(together[0]) ** 0.5  # drawn anew


@pytest.mark.parametrize(("keep", "factor"), [(1.0, 1.0), (0.0, 0.0), (0.7, 0.7)])
def test_shake_drop_in_evaluation(keep: float, factor: float) -> None:
    images, state = torch.rand(3, 2, 4, 4), torch.get_rng_state()
    torch.testing.assert_close(ShakeDrop(keep).eval()(images), factor * images)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_shake_drop_keeps_the_type(dtype: torch.dtype) -> None:
    branch = torch.rand(4, 2, 3, 3).to(dtype).requires_grad_()
    shaken = ShakeDrop(0.5)(branch)
    (gradient,) = torch.autograd.grad(shaken.sum(), branch)
    assert (shaken.dtype, gradient.dtype) == (dtype, dtype)


@pytest.mark.slow
def test_keep_falls_linearly_over_the_units() -> None:
    """110 layers are 54 units of two; the first keeps nearly all, the last the final probability."""
    network = pyramidnet_shakedrop(10, base="pyramidnet110_a48_cifar10", final_keep=0.4)
    found = [module.keep for module in network.modules() if isinstance(module, ShakeDrop)]
    assert found == pytest.approx([1 - 0.6 * number / 54 for number in range(1, 55)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"base": "resnet20_cifar10"},
            "pytorchcv/resnet20_cifar10 is no PyramidNet: give a name such as pyramidnet110",
        ),
        ({"base": "pyramidnet110"}, "pytorchcv has no model 'pyramidnet110'. Did you mean pyramidnet110_a"),
        ({"base": "pyramidnet110_a48_cifar10", "final_keep": -0.2}, r"final_keep must lie in \[0, 1\], found -0.2"),
    ],
)
def test_pyramidnet_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model("lightning_modules.classifier.models.pyramidnet_shakedrop", 10, **arguments)


@pytest.mark.parametrize("keep", [-0.1, 1.1, float("nan")])
def test_keep_out_of_range(keep: float) -> None:
    with pytest.raises(ValueError, match=r"keep must lie in \[0, 1\], found"):
        ShakeDrop(keep)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_out_of_range(dropout: float) -> None:
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), got"):
        WideResNet(10, dropout=dropout)


def pyramid_unit() -> nn.Module:
    return pyramidnet_shakedrop(10, base="pyramidnet110_a48_cifar10").get_submodule("features.stage2.unit1")


def shake_shake_unit() -> nn.Module:
    unit: nn.Module = ShakeShakeResUnit(17, 18, stride=2, bottleneck=False)
    unit.activ = nn.Identity()  # the mean does not go through it
    return unit


def wide_unit() -> nn.Module:
    unit: nn.Module = WideResNet(10, depth=10, dropout=0.3).blocks[0]
    return unit


@pytest.mark.parametrize("make", [pyramid_unit, shake_shake_unit, wide_unit])
def test_evaluation_is_the_mean_of_training(make: Callable[[], nn.Module]) -> None:
    """With fixed batch statistics: many draws of one image against one pass of evaluation."""
    torch.manual_seed(0)
    unit = make().double()
    first = next(module for module in unit.modules() if isinstance(module, nn.Conv2d))
    image = torch.randn(1, first.in_channels, 6, 6, dtype=torch.float64)
    unit.train()
    for module in unit.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    with torch.no_grad():
        draws = unit(image.expand(COUNT, -1, -1, -1))
        expected = unit.eval()(image)[0]
    spread = draws.std(dim=0)
    assert (spread > 0).double().mean() > 0.5
    error = (draws.mean(dim=0) - expected).abs()
    assert (error <= 5 * spread / COUNT**0.5 + 1e-9).all()
