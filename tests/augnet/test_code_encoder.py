"""The encoder of the field network: the paper's shapes, and the dropout on its codes."""

import pytest
import torch
from augnet_images import noise
from torch import nn

from augnet.code_encoder import CodeEncoder, drop_codes
from augnet.draws import uniform


def convolutions(encoder: CodeEncoder) -> list[tuple[int, int, int]]:
    return [
        (layer.out_channels, int(layer.kernel_size[0]), int(layer.stride[0]))
        for layer in encoder.stack
        if isinstance(layer, nn.Conv2d)
    ]


def test_the_encoders_of_the_paper() -> None:
    cifar = CodeEncoder(3, 32, 32)
    assert convolutions(cifar) == [(16, 4, 1), (32, 4, 2), (64, 4, 2), (128, 4, 2)]
    assert isinstance(cifar.stack[-1], nn.Linear)
    assert cifar.stack[-1].in_features == 128 * 4 * 4
    imagenet = CodeEncoder(3, 224, 224)
    assert [width for width, _, _ in convolutions(imagenet)] == [16, 16, 32, 32, 64, 64, 128]
    assert [kernel for _, kernel, _ in convolutions(imagenet)] == [7, 4, 4, 4, 4, 4, 4]
    assert [stride for _, _, stride in convolutions(imagenet)] == [1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (28, 28), (32, 32), (130, 131)])
def test_codes_of_every_size_depend_on_the_image_and_stay_inside_the_cube(size: tuple[int, int]) -> None:
    codes = CodeEncoder(2, *size)(noise(3, 2, *size, low=-50, high=50, dtype=torch.float32))
    assert codes.shape == (3, 128)
    assert codes.abs().max() <= 1
    assert (codes[0] - codes[1]).abs().max() > 1e-3


def test_dropped_codes_are_zero_or_doubled() -> None:
    codes = noise(400, 128, low=-1, dtype=torch.float32)
    dropped = drop_codes(codes, 0.5, torch.rand(codes.shape, generator=torch.Generator().manual_seed(0)))
    kept = dropped != 0
    assert torch.equal(dropped[kept], 2 * codes[kept])
    # 51,200 fair draws: five standard deviations are 0.011
    assert abs(kept.float().mean().item() - 0.5) < 0.011
    assert (kept[0] != kept[1]).any()


def test_dropout_keeps_the_mean() -> None:
    codes, draws = torch.ones(2000, 128), torch.rand(2000, 128, generator=torch.Generator().manual_seed(0))
    assert abs(drop_codes(codes, 0.8, draws).mean().item() - 1) < 0.02
    assert torch.equal(drop_codes(codes, 0.0, draws), codes)


def test_uniform_draws_do_not_depend_on_the_dtype_of_the_images() -> None:
    single, double = (
        uniform((5,), torch.zeros(1, dtype=dtype), torch.Generator().manual_seed(0))
        for dtype in (torch.float32, torch.float64)
    )
    assert single.dtype == torch.float32
    assert torch.equal(single, double)
