from itertools import product

import pytest
import torch
import torch.nn.functional as F
from augnet_images import noise
from torch import Tensor

from augnet.baselines import FlipCrop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crops(image: Tensor, rows: int, columns: int, flips: tuple[bool, ...]) -> list[Tensor]:
    """Everything that can come of one image `[C, H, W]`: pad with zeros, crop to the old size, mirror."""
    height, width = image.shape[1:]
    padded = F.pad(image, (columns, columns, rows, rows))
    windows = [
        padded[:, top : top + height, left : left + width]
        for top, left in product(range(2 * rows + 1), range(2 * columns + 1))
    ]
    return [window.flip(2) if mirrored else window for mirrored in flips for window in windows]


def index_of(result: Tensor, possible: list[Tensor]) -> int:
    (matches,) = torch.stack([(result == one).all() for one in possible]).nonzero(as_tuple=True)
    assert len(matches) == 1
    return int(matches)


@pytest.mark.parametrize(
    ("flip_crop", "sides", "reach", "flips"),
    [
        (FlipCrop(), (8, 8), (1, 1), (False, True)),
        (FlipCrop(padding=0.25), (4, 6), (1, 2), (False, True)),
        (FlipCrop(padding=0.25, flip=0.0), (4, 6), (1, 2), (False,)),
        (FlipCrop(padding=0.25, flip=1.0), (6, 4), (2, 1), (True,)),
        (FlipCrop(padding=0.0), (3, 5), (0, 0), (False, True)),
        (FlipCrop(padding=0.9), (2, 1), (2, 1), (False, True)),
    ],
)
def test_every_result_is_a_possible_crop_and_each_comes_as_often(
    flip_crop: FlipCrop, sides: tuple[int, int], reach: tuple[int, int], flips: tuple[bool, ...]
) -> None:
    image = noise(3, *sides, low=0.1)
    possible = torch.stack(crops(image, *reach, flips)).unique(dim=0, return_counts=True)
    windows, ways = possible
    each = 100
    count = each * int(ways.sum())
    results = flip_crop(image.expand(count, -1, -1, -1), generator())
    found = (results[:, None] == windows[None]).flatten(2).all(dim=2)
    assert (found.sum(dim=1) == 1).all()
    often = found.sum(dim=0) / ways
    assert (often - each).abs().max() < 5 * each**0.5, often


def test_each_image_has_its_own_draw_and_its_own_pixels() -> None:
    images = noise(40, 2, 6, 5)
    results = FlipCrop(padding=0.2)(images, generator())
    drawn = [index_of(result, crops(image, 1, 1, (False, True))) for result, image in zip(results, images, strict=True)]
    assert len(set(drawn)) > 10


def test_evaluation_returns_its_input() -> None:
    images = noise(2, 3, 8, 8)
    flip_crop = FlipCrop().eval()
    state = torch.get_rng_state()
    assert flip_crop(images) is images
    assert torch.equal(torch.get_rng_state(), state)


def test_the_generator_alone_decides() -> None:
    images = noise(20, 3, 8, 8)
    state = torch.get_rng_state()
    first, same, other = (FlipCrop()(images, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_gradient_to_the_images() -> None:
    images = noise(3, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: FlipCrop(padding=0.3)(x, generator()), (images,))
    results = FlipCrop(padding=0.0)(images, generator())
    (gradient,) = torch.autograd.grad(results.sum(), images)
    assert torch.equal(gradient, torch.ones_like(images))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_type_and_shape_are_kept(dtype: torch.dtype) -> None:
    images = noise(4, 1, 7, 9, dtype=dtype)
    results = FlipCrop()(images)
    assert results.dtype == dtype
    assert results.shape == images.shape


@pytest.mark.parametrize(
    "arguments", [{"padding": -0.1}, {"padding": 1.0}, {"padding": float("nan")}, {"flip": -0.1}, {"flip": 1.1}]
)
def test_arguments_out_of_range(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected padding in \[0, 1\) and flip in \[0, 1\], found"):
        FlipCrop(**arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("padding", [0.0, 0.125, 0.9])
def test_the_forward_pass_is_that_with_gradient(padding: float, dtype: torch.dtype) -> None:
    for shape in ((9, 3, 70, 64), (5, 1, 128, 100)):
        images, policy = torch.rand(shape, dtype=dtype), FlipCrop(padding)
        fast = policy(images, torch.Generator().manual_seed(1))
        attached = policy(images.clone().requires_grad_(True), torch.Generator().manual_seed(1))
        assert attached.requires_grad
        assert torch.equal(fast, attached)
