"""On a graphics card the same numbers come out as on the processor, and every policy learns in every precision."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from augnet import AugNet, TransformSpace
from augnet.ops import OPS
from influence import LastLayerHessian, solve
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.data import DigitsDataModule
from lightning_modules.learner.policy_choice import PolicyName
from lightning_modules.learner.settings import LearnerSettings
from studies.training import Training, trainer_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card and CUDA")
DEVICES = ("cpu", "cuda")
POLICIES: list[PolicyName] = ["ranges", "intervals", "mixture", "class_conditional"]


def random(*shape: int, low: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return low + (1 - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def agree(values: Sequence[Tensor], tolerance: float = 1e-9) -> None:
    on_cpu, on_cuda = values
    assert on_cuda.device.type == "cuda"
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPS)
def test_images_and_gradients_of_an_op_agree(name: str) -> None:
    images, space, found = random(6, 3, 20, 17), TransformSpace([name]), []
    strengths = 0.8 * random(6, 1, low=0.1) * space.bounds[0]
    for device in DEVICES:
        magnitudes = strengths.to(device).requires_grad_()
        augmented = space.apply(images.to(device), magnitudes, generator=torch.Generator().manual_seed(1))
        (gradient,) = torch.autograd.grad(augmented.square().sum(), magnitudes)
        found.append((augmented.detach(), gradient))
    agree([augmented for augmented, _ in found])
    agree([gradient for _, gradient in found], 1e-6)


def test_solutions_agree() -> None:
    features, logits, gradient = random(40, 7, low=-1), random(40, 5, low=-1), random(5, 8, low=-1)
    hessians = [LastLayerHessian(features.to(device), logits.to(device), damping=0.1) for device in DEVICES]
    agree([solve(hessian, gradient.to(hessian.rows.device), tol=1e-12).value for hessian in hessians])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_learns(policy: PolicyName, precision: Any) -> None:
    torch.manual_seed(0)
    data = DigitsDataModule(image_size=16, seed=0)
    model = AugmentedClassifier(
        model="lightning_modules.classifier.models.SmallConvNet",
        num_classes=10,
        in_channels=1,
        image_size=(16, 16),
        policy=policy,
        ops=["rotation", "translate_x", "brightness", "blur"],
        base_policy="trivial_augment",
        learner=LearnerSettings(warmup=2, interval=2),
    )
    assert isinstance(model.learned, AugNet)
    before = [parameter.detach().clone() for parameter in model.learned.parameters()]
    trainer = trainer_of(Training(steps=90, precision=precision, accelerator="cuda"))
    trainer.fit(model, datamodule=data)
    after = [parameter.detach().cpu() for parameter in model.learned.parameters()]
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(bool(parameter.isfinite().all()) for parameter in after)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    accuracy = trainer.test(model, datamodule=data, verbose=False)[0]["test/acc"]
    assert accuracy > 0.3  # ten classes
