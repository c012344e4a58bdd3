"""The caller's tensors are never written to, whichever way the images take through a space."""

from collections.abc import Callable

import pytest
import torch
from augnet_images import draw, generator, noise
from sweeps import kind_of, sweep
from torch import Tensor

from augnet import TransformSpace
from augnet.ops import OPS

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda images: images.contiguous(),
    "channels_last": lambda images: images.contiguous(memory_format=torch.channels_last),
    "expanded": lambda images: images[:1].expand_as(images),
    "strided": lambda images: images.repeat_interleave(2, dim=3)[..., ::2],
    "transposed": lambda images: images.mT.contiguous().mT,
}


@sweep("layout", LAYOUTS)
@sweep(
    "names", [*((name,) for name in OPS), tuple(OPS)], by=lambda names: kind_of(names[0] if len(names) == 1 else names)
)
def test_inputs_are_not_changed(names: tuple[str, ...], layout: str) -> None:
    space = TransformSpace(names)
    magnitudes = draw(space, 6) * torch.tensor([0.0, 1, 0, 1, 1, 0])[:, None]  # so that some rows are written to
    images = LAYOUTS[layout](noise(6, 3, 6, 7, dtype=torch.float32))
    draws = space.noise(images, generator())
    before = images.clone(), magnitudes.clone(), {name: values.clone() for name, values in draws.items()}
    version = images._version
    result = space.apply(images, magnitudes, draws)
    result.add_(1)  # writing to the result does not reach the images either
    assert images._version == version
    assert torch.equal(images, before[0])
    assert torch.equal(magnitudes, before[1])
    assert all(torch.equal(draws[name], values) for name, values in before[2].items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@sweep("magnitude", ["none", "some", "all"])
@sweep("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@sweep("learned", [False, True])
def test_images_that_require_a_gradient_are_not_changed(
    dtype: torch.dtype, magnitude: str, mode: Callable[[], torch.enable_grad], learned: bool
) -> None:
    space = TransformSpace([name for name, op in OPS.items() if not op.needs_rgb])
    active = {"none": [0.0, 0, 0, 0], "some": [0.0, 1, 0, 1], "all": [1.0, 1, 1, 1]}[magnitude]
    magnitudes = (draw(space, 4, dtype=torch.float32) * torch.tensor(active)[:, None]).requires_grad_(learned)
    images = noise(4, 2, 6, 7, dtype=dtype).requires_grad_()
    before = images.detach().clone()
    with mode():
        result = space.apply(images, magnitudes, generator=generator())
        plain = space.apply(images.detach(), magnitudes, generator=generator())
    assert torch.equal(images, before)
    assert images._version == 0
    torch.testing.assert_close(result, plain)  # and the gradient changes no value
    assert result.requires_grad == (mode is torch.enable_grad)


def test_noise_may_be_used_again() -> None:
    space, images = TransformSpace(tuple(OPS)), noise(5, 3, 6, 7, dtype=torch.float32)
    draws, magnitudes = space.noise(images, generator()), draw(space, 5, dtype=torch.float32)
    first = space.apply(images, magnitudes, draws)
    assert torch.equal(space.apply(images, magnitudes, draws), first)
    assert torch.equal(space.apply(images, magnitudes, generator=generator()), first)
    assert not torch.equal(space.apply(images, magnitudes, generator=generator(1)), first)
