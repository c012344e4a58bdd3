"""Large images are worked on one by one where no gradient is asked; the differentiable pass is the oracle."""

import pytest
import torch

from augnet import TransformSpace
from augnet.fused import LARGE
from augnet.ops import OPS
from augnet.ops.base import MixingOp


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if not isinstance(op, MixingOp)])
def test_the_forward_pass_is_that_with_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (6, 3, 68, 64), generator=generator)
    images, op, space = levels.double() / 255, OPS[name], TransformSpace([name])
    assert images[0].numel() >= LARGE
    magnitudes = torch.tensor([0.0, 0.3, 1.0, 0.0, 0.7, 0.5], dtype=torch.float64)[:, None] * op.bound
    noise = space.noise(images, generator)
    before = images.clone()
    found = space.apply(images, magnitudes, noise)
    expected = space.apply(images, magnitudes.clone().requires_grad_(True), noise)
    assert expected.requires_grad
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-12)
    assert torch.equal(images, before)
    assert torch.equal(found[[0, 3]], images[[0, 3]])
