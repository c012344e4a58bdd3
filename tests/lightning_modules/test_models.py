from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules.classifier.models import SmallConvNet, WideResNet, build_model
from lightning_modules.data import DigitsDataModule
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

FAMILIES: list[tuple[str, int, int, dict[str, Any]]] = [
    ("timm/resnet10t", 3, 32, {}),
    ("timm/vit_tiny_patch16_224", 1, 32, {"img_size": 32, "depth": 2}),
    ("timm/convnext_atto", 3, 32, {"depths": (1, 1, 1, 1)}),
    ("pytorchcv/resnet20_cifar10", 3, 32, {}),
    ("pytorchcv/preresnet20_svhn", 1, 32, {}),
    ("pytorchcv/shakeshakeresnet20_2x16d_cifar10", 3, 32, {}),
    ("pytorchcv/wrn16_10_cifar10", 3, 32, {}),
    ("pytorchcv/pyramidnet110_a48_cifar10", 3, 32, {}),
    ("lightning_modules.classifier.models.SmallConvNet", 1, 16, {"width": 8}),
    ("lightning_modules.classifier.models.WideResNet", 3, 32, {"depth": 10}),
    ("torchvision.models.mobilenet_v3_small", 3, 32, {}),
]


@pytest.mark.parametrize(("name", "channels", "size", "arguments"), FAMILIES)
@pytest.mark.parametrize("num_classes", [10, 7])
def test_logits_are_the_head_of_the_captured_features(
    name: str, channels: int, size: int, arguments: dict[str, Any], num_classes: int
) -> None:
    torch.manual_seed(0)
    model = build_model(name, num_classes, channels, **arguments).eval()
    images = torch.rand(3, channels, size, size)
    head = find_last_linear(model, images)
    features, logits = FeatureCapture(model, head)(images)
    assert features.shape == (3, head.in_features)
    assert logits.shape == (3, num_classes)
    torch.testing.assert_close(features @ head.weight.T + head.bias, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet81", "timm has no model 'resnet81'. Did you mean .*resnet18"),
        ("timm/resnet18.nope", "cannot be built with .*nope"),
        ("pytorchcv/resnet20", "pytorchcv has no model 'resnet20'. Did you mean .*resnet20_cifar10"),
        ("pytorchcv/get_model", "pytorchcv has no model 'get_model'"),
        ("resnet18", "unknown model 'resnet18': give .* Did you mean timm/resnet18"),
        ("other/resnet18", "unknown model 'other/resnet18'"),
        (
            "lightning_modules.classifier.models.WideResnet",
            "no class or function 'WideResnet'. Did you mean WideResNet",
        ),
        ("no_such_package.Model", "unknown model 'no_such_package.Model'"),
        ("collections.Counter", "gave a Counter, expected a torch.nn.Module"),
        ("torch.nn.Identity.nope", "unknown model"),
    ],
)
def test_unknown_models(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(name, 7)


def test_arguments_that_the_model_does_not_take() -> None:
    with pytest.raises(ValueError, match=r"cannot be built with num_classes=7, widht=3.*widht"):
        build_model("lightning_modules.classifier.models.SmallConvNet", 7, widht=3)
    with pytest.raises(ValueError, match="num_classes=0 and in_channels=3 must be positive"):
        build_model("timm/resnet18", 0)


def test_small_network_learns_upright_digits() -> None:
    torch.manual_seed(0)
    module = DigitsDataModule(deployment_rotation=0)
    model = SmallConvNet(10)
    assert 20_000 < sum(parameter.numel() for parameter in model.parameters()) < 60_000
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loader = module.train_dataloader()
    for _ in range(4):
        for images, labels, _ in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    images, labels = module.influence_set()
    assert (model.eval()(images).argmax(dim=1) == labels).float().mean() > 0.9


def test_wide_resnet_has_the_parameters_of_the_paper() -> None:
    """Zagoruyko and Komodakis (2016), tables 4 and 5: WRN-40-1 0.6 M, WRN-16-8 11.0 M parameters."""
    for depth, widen_factor, millions in ((40, 1, 0.6), (16, 8, 11.0)):
        model = WideResNet(10, depth=depth, widen_factor=widen_factor)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"depth": 18}, "depth must be 6 n"), ({"widen_factor": 0}, "widen_factor must be")],
)
def test_wide_resnet_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WideResNet(10, **arguments)


def test_weights_that_cannot_be_loaded_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: object) -> None:
        raise FileNotFoundError("not in the cache")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(ValueError, match=r"timm/resnet18.*weights could not be loaded \(not in the cache"):
        build_model("timm/resnet18", num_classes=2, pretrained=True)
    with pytest.raises(FileNotFoundError):
        build_model("timm/resnet18", num_classes=2)
