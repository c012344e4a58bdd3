"""The mathematics of the fields against hand-worked pixels, kornia, and finite differences."""

import kornia
import pytest
import torch
from augnet_images import noise
from sweeps import sweep
from torch import Tensor, nn

from augnet.field import (
    Composition,
    FieldDecoder,
    Fields,
    as_fields,
    color_change,
    displace,
    displacement,
    pixels,
    pool,
    smooth_displacement,
    transform,
)


def fields(images: Tensor, matrix: Tensor | None = None, shift: Tensor | None = None, bias: float = 0.0) -> Fields:
    """Fields that are the same at every pixel; zero where nothing is given."""
    count, channels, height, width = images.shape
    zero = images.new_zeros(count, 1, height, width)
    return Fields(
        zero[:, None] + (images.new_zeros(2, 2) if matrix is None else matrix)[None, ..., None, None],
        zero + (images.new_zeros(2) if shift is None else shift)[None, :, None, None],
        zero[:, None].expand(-1, channels, channels, -1, -1),
        zero.expand(-1, channels, -1, -1) + bias,
    )


@pytest.mark.parametrize("composition", ["parallel", "serial"])
@pytest.mark.parametrize("shape", [(2, 3, 33, 21), (2, 1, 8, 8), (2, 2, 1, 3)])
def test_zero_fields_are_exactly_the_identity(composition: Composition, shape: tuple[int, ...]) -> None:
    images = noise(*shape, dtype=torch.float32)
    assert torch.equal(transform(images, fields(images), composition), images)


@pytest.mark.parametrize(
    ("shift", "source", "target"),
    [
        ((1.0, 0.0), (slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((0.0, 1.0), (slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((-2.0, 0.0), (slice(None, -2), slice(None)), (slice(2, None), slice(None))),
        ((0.0, -9.0), (slice(None, 0), slice(None)), (slice(None, 0), slice(None))),
    ],
)
def test_a_constant_shift_moves_whole_pixels(
    shift: tuple[float, float], source: tuple[slice, slice], target: tuple[slice, slice]
) -> None:
    images = noise(2, 3, 7, 9, dtype=torch.float32)
    expected = torch.zeros_like(images)
    expected[..., target[0], target[1]] = images[..., source[0], source[1]]
    assert torch.equal(transform(images, fields(images, shift=torch.tensor(shift))), expected)


def test_half_a_pixel_is_the_mean_of_two_and_fades_into_black() -> None:
    images = noise(1, 2, 4, 5)
    moved = displace(images, images.new_tensor([0.5, 0.0])[None, :, None, None].expand(1, 2, 4, 5))
    below = torch.cat([images[:, :, 1:], torch.zeros_like(images[:, :, :1])], dim=2)
    torch.testing.assert_close(moved, (images + below) / 2)


def homography(matrix: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """The map of (x, y) content when (row, column) p is sampled from `p + A (p - center) + b`, `[1, 2, 3]`."""
    center = shift.new_tensor([(height - 1) / 2, (width - 1) / 2])
    fetch = torch.eye(3, dtype=shift.dtype)
    fetch[:2, :2] += matrix
    fetch[:2, 2] = shift - matrix @ center
    swap = torch.eye(3, dtype=shift.dtype)[[1, 0, 2]]
    forward: Tensor = torch.linalg.inv(swap @ fetch @ swap)
    return forward[None, :2]


def test_constant_fields_are_the_affine_map_of_kornia() -> None:
    images = noise(1, 3, 17, 12)
    matrix, shift = images.new_tensor([[0.15, -0.3], [0.25, 0.1]]), images.new_tensor([1.3, -0.7])
    constant = fields(images, matrix, shift)
    moved = displace(images, displacement(constant.matrix, constant.shift))
    expected = kornia.geometry.warp_affine(images, homography(matrix, shift, 17, 12), (17, 12), align_corners=True)
    torch.testing.assert_close(moved, expected, atol=1e-10, rtol=0)


def test_pooling_moves_a_constant_matrix_by_half_a_pixel_inside() -> None:
    images = noise(1, 3, 17, 12)
    matrix, shift = images.new_tensor([[0.15, -0.3], [0.25, 0.1]]), images.new_tensor([1.3, -0.7])
    half = matrix @ images.new_tensor([0.5, 0.5])
    expected = kornia.geometry.warp_affine(images, homography(matrix, shift + half, 17, 12), (17, 12))
    moved = transform(images, fields(images, matrix, shift))
    torch.testing.assert_close(moved[..., 1:-2, 1:-2], expected[..., 1:-2, 1:-2], atol=1e-10, rtol=0)


def test_one_spike_of_displacement_spreads_over_sixteen_pixels() -> None:
    images = noise(1, 3, 9, 10)
    spike = fields(images)
    spike.shift[0, 1, 4, 5] = 1.6
    expected = torch.zeros(1, 2, 9, 10, dtype=torch.float64)
    expected[0, 1, 2:6, 3:7] = 0.1
    torch.testing.assert_close(smooth_displacement(spike), expected, atol=1e-15, rtol=0)


def test_pooling_repeats_the_edge() -> None:
    row = torch.tensor([0.0, 1.0, 2.0, 7.0, 5.0])
    expected = torch.tensor([0.0 + 0 + 1 + 2, 0 + 1 + 2 + 7, 1 + 2 + 7 + 5, 2 + 7 + 5 + 5, 7 + 5 + 5 + 5]) / 4
    torch.testing.assert_close(pool(row.expand(1, 1, 3, 5)), expected.expand(1, 1, 3, 5))
    assert torch.equal(pool(torch.full((1, 2, 1, 1), 3.0)), torch.full((1, 2, 1, 1), 3.0))


def test_the_literal_form_leaves_the_range() -> None:
    images = torch.full((1, 3, 6, 6), 0.9, dtype=torch.float64)
    for composition in ("parallel", "serial"):
        result = transform(images, fields(images, bias=0.2), composition)
        torch.testing.assert_close(result, torch.full_like(images, 1.1))


def test_parallel_adds_the_change_of_the_original_and_serial_that_of_the_moved_image() -> None:
    # the pixel moved in is 0.7; the original is 0.5 and its color alone would become 0.6
    images = torch.tensor([[0.5, 0.7]], dtype=torch.float64).expand(1, 1, 5, 2).clone()
    constant = fields(images, shift=images.new_tensor([0.0, 1.0]))
    assert constant.filter is not None
    brighter = constant._replace(filter=constant.filter + 0.2)  # the change is 0.2 x
    parallel, serial = transform(images, brighter, "parallel"), transform(images, brighter, "serial")
    torch.testing.assert_close(parallel[..., 0], torch.full((1, 1, 5), 0.7 + 0.6 - 0.5, dtype=torch.float64))
    torch.testing.assert_close(serial[..., 0], torch.full((1, 1, 5), 0.7 * 1.2, dtype=torch.float64))


def test_the_color_filter_is_a_1x1_convolution_where_it_is_constant() -> None:
    images, weights, bias = noise(2, 3, 5, 6), noise(3, 3, low=-1), noise(3, low=-1)
    change = color_change(
        images,
        weights[None, ..., None, None].expand(2, -1, -1, 5, 6),
        bias[None, :, None, None].expand(2, -1, 5, 6),
    )
    torch.testing.assert_close(change, nn.functional.conv2d(images, weights[..., None, None], bias))


@pytest.mark.parametrize("composition", ["parallel", "serial"])
def test_gradients_by_finite_differences(composition: Composition) -> None:
    shapes = [(2, 2, 4, 5), (2, 2, 2, 4, 5), (2, 2, 4, 5), (2, 2, 2, 4, 5), (2, 2, 4, 5)]
    inputs = [
        (torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).requires_grad_()
        for seed, shape in enumerate(shapes)
    ]

    def transformed(images: Tensor, *parts: Tensor) -> Tensor:
        return transform(images, Fields(*parts), composition)

    assert torch.autograd.gradcheck(transformed, inputs)


def test_what_is_not_finite_stays_visible_and_what_is_far_is_black() -> None:
    images, offsets = noise(1, 1, 3, 3), torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    offsets[0, 0, 0] = torch.tensor([torch.nan, torch.inf, -1e30])
    moved = displace(images, offsets)
    assert moved[0, 0, 0].isnan().tolist() == [True, False, False]
    assert torch.equal(moved[0, 0, 0, 1:], torch.zeros(2, dtype=torch.float64))
    assert torch.equal(moved[:, :, 1:], images[:, :, 1:])


def test_pixels_are_row_then_column() -> None:
    assert pixels(2, 3, torch.zeros(())).tolist() == [[[0, 0, 0], [1, 1, 1]], [[0, 1, 2], [0, 1, 2]]]


def layers(decoder: FieldDecoder) -> list[tuple[int, int, tuple[int, ...], tuple[int, ...]]]:
    return [
        (layer.in_channels, layer.out_channels, tuple(layer.kernel_size), tuple(layer.stride))
        for layer in decoder.layers
        if isinstance(layer, nn.ConvTranspose2d)
    ]


def test_the_decoders_of_the_paper() -> None:
    four, two, one = (4, 4), (2, 2), (1, 1)
    doubling = [(128, 64, four, two), (64, 32, four, two), (32, 16, four, two)]
    assert layers(FieldDecoder(3, 32, 32, appearance=True)) == [*doubling, (16, 18, four, one)]
    assert layers(FieldDecoder(1, 32, 32, appearance=False)) == [*doubling, (16, 6, four, one)]
    large = layers(FieldDecoder(3, 224, 224, appearance=True))
    assert [layer[1] for layer in large] == [64, 64, 32, 32, 16, 16, 18]
    assert [layer[3] for layer in large] == [one, two, two, two, two, two, one]


@sweep("size", [(1, 1), (3, 9), (8, 8), (28, 28), (33, 70), (20, 64)])
@pytest.mark.parametrize(("channels", "appearance"), [(1, False), (3, True), (5, True)])
def test_the_decoder_covers_every_size(size: tuple[int, int], channels: int, appearance: bool) -> None:
    decoded = as_fields(FieldDecoder(channels, *size, appearance)(noise(2, 128, low=-1, dtype=torch.float32)), channels)
    assert decoded.matrix.shape == (2, 2, 2, *size)
    assert decoded.shift.shape == (2, 2, *size)
    if not appearance:
        assert decoded.filter is None
        assert decoded.bias is None
    else:
        assert decoded.filter is not None
        assert decoded.bias is not None
        assert decoded.filter.shape == (2, channels, channels, *size)
        assert decoded.bias.shape == (2, channels, *size)
    assert decoded.shift.abs().max() < 0.05
    assert (decoded.shift != 0).all(dim=0).any()


def test_no_pixel_of_the_fields_is_out_of_reach_of_the_code() -> None:
    decoder = FieldDecoder(1, 21, 34, appearance=False)
    for seed, parameter in enumerate(decoder.parameters()):
        parameter.data = torch.rand(parameter.shape, generator=torch.Generator().manual_seed(seed))
    first, second = (as_fields(decoder(torch.full((1, 128), value)), 1).shift for value in (0.5, 1.0))
    assert (first != second).all()
