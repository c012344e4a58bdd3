"""Float16 without lost gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from learner_cases import BATCH, TINY_OPS, make
from torch import Tensor, nn
from toys import CLASSES, blobs

from augnet import AugNet
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.objective import backward_through_images
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.settings import LearnerSettings


def through_half(factor: float, dtype: torch.dtype) -> tuple[Tensor, float]:
    """The gradient at float32 inputs of `factor` times their mean, behind a conversion to float16; and the true one."""
    images = torch.rand(500, requires_grad=True)
    backward_through_images(factor * images.half().float(), dtype, [images])
    assert images.grad is not None
    return images.grad, factor / len(images)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e7, 1e9])
def test_no_gradient_is_lost_in_float16(factor: float) -> None:
    gradient, expected = through_half(factor, torch.float16)
    torch.testing.assert_close(gradient, torch.full_like(gradient, expected), rtol=1e-3, atol=0)
    unscaled, _ = through_half(factor, torch.float32)
    lost = bool((unscaled == 0).all() or unscaled.isinf().all())
    assert lost == (factor not in (1.0, 1e7))


def test_what_no_scale_can_hold_is_not_finite() -> None:
    assert not through_half(1e25, torch.float16)[0].isfinite().any()


def float16() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.float16)


def image_gradients(learner: PolicyLearner, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The gradients at the augmented images, the one sent on to the policy last; changed before they go on."""
    seen: list[Tensor] = []

    def at_images(gradient: Tensor) -> Tensor:
        seen.append(gradient.clone())
        return change(gradient)

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        output[0].register_hook(at_images)

    learner.augnet.register_forward_hook(hook)
    return seen


def convolutional(forward_context: Any) -> PolicyLearner:
    """A learner on 1,024 images of 48 pixels: the gradient of the mean at a pixel is about 1e-7."""
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = nn.Linear(8, CLASSES)
    augnet = AugNet.from_ops(TINY_OPS, 0.3).requires_grad_(False)
    capture = FeatureCapture(nn.Sequential(*body, head), head)
    return PolicyLearner(
        augnet,
        capture,
        enlarged(*blobs(90, 2.5, 1)),
        LearnerSettings(radius=None),
        forward_context=forward_context,
        seed=3,
    )


def enlarged(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return nn.functional.interpolate(images, scale_factor=4), labels


@pytest.mark.slow
def test_policy_gradient_of_a_large_batch_in_float16_is_that_of_float32() -> None:
    gradients = []
    for context in (float16, torch.enable_grad):
        learner = convolutional(context)
        seen = image_gradients(learner, lambda gradient: gradient)
        update = learner.update(*enlarged(*blobs(1024, 0, 2)))
        assert update.event is None
        assert seen[-1].abs().median() < 6e-7  # of which float16 would keep a few steps
        assert (seen[-1] == 0).float().mean() < 1e-3
        gradients.append(learner.augnet.policy.theta.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0.05, atol=0)


def test_a_float16_learner_learns_and_keeps_the_classifier() -> None:
    learner = make(forward_context=float16)
    seen: list[torch.dtype] = []
    learner.capture.head.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    before = {name: value.clone() for name, value in learner.capture.model.state_dict().items()}
    start = learner.augnet.policy.theta.detach().clone()
    for _ in range(3):
        assert learner.update(*BATCH).event is None
    assert set(seen) == {torch.float16}
    assert (learner.augnet.policy.theta - start).abs().min() > 0.01
    assert learner.influence.bank.rows().features.dtype == torch.float32
    for name, value in learner.capture.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_activations_beyond_float16_are_said() -> None:
    learner = make(forward_context=float16)
    start = learner.augnet.policy.theta.detach().clone()
    next(learner.capture.model.parameters()).data.mul_(1e6)
    assert "not finite" in str(learner.update(*BATCH).event)
    assert torch.equal(learner.augnet.policy.theta, start)


@pytest.mark.parametrize("context", [float16, torch.enable_grad])
def test_a_gradient_that_is_not_finite_is_said_and_moves_nothing(context: Any) -> None:
    learner = make(forward_context=context)
    start = learner.augnet.policy.theta.detach().clone()
    image_gradients(learner, lambda gradient: gradient * torch.nan)
    assert "its gradient is not finite" in str(learner.update(*BATCH).event)
    assert torch.equal(learner.augnet.policy.theta, start)
