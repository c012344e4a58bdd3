import copy
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.classifier.models import SmallConvNet
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Restless(nn.Module):
    """Changes everything a forward pass can change, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(2), persistent=False)
        self.count: Tensor
        self.head = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.count += 1
        self.replaced = torch.rand(2)
        logits: Tensor = self.head(self.norm(images).flatten(1))
        return logits


class Auxiliary(nn.Module):
    """An auxiliary classifier runs after the head, which is called by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.auxiliary = nn.Linear(64, 3), nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(input=images.flatten(1))
        self.auxiliary(images.flatten(1))
        return logits


class Scaled(nn.Linear):
    """No plain linear layer."""

    def forward(self, input: Tensor) -> Tensor:
        return 10 * super().forward(input)


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


class Wrapped(nn.Module):
    """Returns what a function makes of the logits, as other people's classifiers do."""

    def __init__(self, model: nn.Module, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, images: Tensor) -> Any:
        return self.output(self.model(images))


def flat(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3), *layers)


def last(model: nn.Sequential) -> nn.Linear:
    layer = model[3]
    assert isinstance(layer, nn.Linear)
    return layer


def test_head_of_a_plain_model_and_with_a_later_layer() -> None:
    model, auxiliary = flat(), Auxiliary()
    assert find_last_linear(model, IMAGES) is model[3]
    assert find_last_linear(auxiliary, IMAGES) is auxiliary.head
    features, _ = FeatureCapture(auxiliary, auxiliary.head)(IMAGES)
    assert torch.equal(features, IMAGES.flatten(1))


@pytest.mark.parametrize(
    "output",
    [
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: SimpleNamespace(logits=logits),
        lambda logits: logits.double(),  # as wrappers for mixed precision do
        lambda logits: {"logits": logits.double()},
    ],
)
def test_logits_may_be_part_of_an_output_and_converted(output: Callable[[Tensor], Any]) -> None:
    inner = flat()
    model = Wrapped(inner, output)
    assert find_last_linear(model, IMAGES) is inner[3]
    features, logits = FeatureCapture(model, last(inner))(IMAGES)
    assert torch.equal(features, inner[:3](IMAGES))
    assert torch.equal(logits, inner(IMAGES))


def test_probing_leaves_no_trace() -> None:
    restless = Restless()
    model = nn.Sequential(restless, nn.Dropout())
    restless.norm.eval()  # frozen by its owner
    modes = [module.training for module in model.modules()]
    before = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    state = torch.get_rng_state()
    find_last_linear(model, IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    for name, buffer in model.named_buffers():
        assert buffer is before[name][0]
        assert torch.equal(buffer, before[name][1])
    assert "0.replaced" not in model.state_dict()
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_probing_leaves_no_trace_when_it_fails() -> None:
    model = nn.Sequential(Restless(), nn.Softmax(dim=1))
    with pytest.raises(ValueError, match="softmax"):
        find_last_linear(model, IMAGES)
    assert model.training
    assert model[0].count == 0
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (flat(nn.Softmax(dim=1)), "returns probabilities, expected logits: take its final softmax out"),
        (flat(nn.LogSoftmax(dim=1)), "returns log-probabilities, expected logits"),
        (flat(nn.Hardtanh(-1e-6, 1e-6, inplace=True)), "is not the output (4, 3) of its last torch.nn.Linear"),
        (nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()), "no torch.nn.Linear ran in the model"),
        (nn.Sequential(nn.Linear(8, 3), nn.Flatten()), "shape (4, 1, 8, 8), expected [B, D]"),
        (nn.Sequential(nn.Linear(8, 3)), "must return logits [B, K], got shape (4, 1, 8, 3)"),
        (Pair(), "must return logits [B, K], got a tuple: wrap it so that it returns only them, or a dictionary"),
        (Wrapped(flat(), lambda logits: {"out": logits}), "must return logits [B, K], got a dict"),
        (nn.Sequential(nn.Flatten(), Scaled(64, 3)), "a Scaled, does not compute features @ weight.T + bias"),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), "cannot take images of shape (4, 1, 8, 8)"),
    ],
)
def test_models_that_do_not_end_in_a_linear_layer(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        find_last_linear(model, IMAGES)


def test_features_and_logits_are_differentiable_in_images_and_weights() -> None:
    model = SmallConvNet(3, width=2).double().eval()
    capture = FeatureCapture(model, model.head)
    images = IMAGES.double().requires_grad_()
    assert torch.autograd.gradcheck(capture, (images[:2],), eps=1e-7, atol=1e-4)
    features, logits = capture(images)
    (features.square().sum() + logits.sum()).backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_recording_somebody_elses_passes() -> None:
    model = flat()
    capture = FeatureCapture(model, last(model))
    with capture.recording() as seen:
        model(IMAGES)
        second = model(IMAGES[:2])
    assert [len(features) for features, _ in seen.passes] == [4, 2]
    assert seen.logits is second
    assert torch.equal(seen.features, model[:3](IMAGES[:2]))
    model(IMAGES)
    assert len(seen.passes) == 2


def test_recordings_nest() -> None:
    model = flat()
    capture = FeatureCapture(model, last(model))
    with capture.recording() as outer:
        features, logits = capture(IMAGES)
        model(IMAGES[:1])
    assert len(outer.passes) == 2
    assert outer.passes[0][0] is features
    assert outer.passes[0][1] is logits


def test_hook_is_gone_after_an_error_and_from_copies() -> None:
    model = flat()
    capture = FeatureCapture(model, last(model))
    with pytest.raises(ZeroDivisionError), capture.recording():
        raise ZeroDivisionError
    assert not model[3]._forward_hooks
    with capture.recording() as seen:
        copy.deepcopy(model)
    with pytest.raises(RuntimeError, match="nothing passed through the head while recording"):
        _ = seen.features


def test_autocast_keeps_its_type() -> None:
    model = flat()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, logits = FeatureCapture(model, last(model))(IMAGES)
    assert features.dtype == logits.dtype == torch.bfloat16


def test_head_of_another_model() -> None:
    with pytest.raises(ValueError, match="is no layer of the model Sequential: take one of its own"):
        FeatureCapture(flat(), nn.Linear(16, 3))


class Twice(nn.Module):
    """Passes the flipped images through the head too, before or after."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.head, self.first = nn.Linear(64, 3), first

    def forward(self, images: Tensor) -> Tensor:
        parts = [images, images.flip(-1)] if self.first else [images.flip(-1), images]
        logits: list[Tensor] = [self.head(part.flatten(1)) for part in parts]
        return logits[0 if self.first else 1]


@pytest.mark.parametrize("first", [True, False])
def test_the_pass_that_the_output_comes_from_is_taken(first: bool) -> None:
    model = Twice(first)
    features, logits = FeatureCapture(model, find_last_linear(model, IMAGES))(IMAGES)
    assert torch.equal(features, IMAGES.flatten(1))
    assert torch.equal(logits, model.head(IMAGES.flatten(1)))


class Adapted(nn.Module):
    """A low-rank adapter beside the last layer, zero at first, and a learned scale behind it, one at first."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(64, 3), nn.Linear(64, 2, bias=False), nn.Parameter(torch.zeros(2, 3))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        features = images.flatten(1)
        logits: Tensor = (self.base(features) + self.down(features) @ self.up) * self.scale
        return logits


@pytest.mark.parametrize("part", ["up", "scale"])
def test_what_changes_the_output_of_the_head_later_is_refused_then(part: str) -> None:
    model = Adapted()
    capture = FeatureCapture(model, find_last_linear(model, IMAGES))
    capture(IMAGES)
    with torch.no_grad():
        getattr(model, part).add_(0.5)
    with pytest.raises(ValueError, match=r"no longer returns the output of its last layer Linear\(.*learned scale"):
        capture(IMAGES)


def test_a_head_that_was_replaced_is_refused() -> None:
    model = flat()
    capture = FeatureCapture(model, find_last_linear(model, IMAGES))
    model[3] = nn.Linear(16, 3)
    with pytest.raises(ValueError, match="that layer was replaced"):
        capture(IMAGES)


def test_a_model_that_diverges_is_still_followed() -> None:
    """The guard is told of values that are not finite by what it reads."""
    model = flat()
    capture = FeatureCapture(model, find_last_linear(model, IMAGES))
    with torch.no_grad():
        last(model).weight[0, 0] = torch.nan
    assert not bool(capture(IMAGES)[1].isfinite().all())
    with pytest.raises(ValueError, match="NaN or infinite logits for images of the influence set"):
        find_last_linear(model, IMAGES)
