"""Random resized crop, held to torchvision's."""

import pytest
import torch
from augnet_images import generator, noise
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from augnet.baselines import Crop, FlipCrop, ResizedCrop
from augnet.baselines.resized_crop import resized_windows

SCALE, ASPECT = [0.08, 1.0], [3 / 4, 4 / 3]


def torchvision_windows(count: int, height: int, width: int) -> Tensor:
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    return torch.tensor([RandomResizedCrop.get_params(image, SCALE, ASPECT) for _ in range(count)])


def distance(own: Tensor, their: Tensor) -> float:
    """The statistic of Kolmogorov and Smirnov, the largest distance between two empirical distribution functions."""
    values = torch.cat([own, their]).unique()
    shares = [torch.searchsorted(part.sort().values, values, right=True) / len(part) for part in (own, their)]
    return float((shares[0] - shares[1]).abs().max())


def farthest(ours: Tensor, theirs: Tensor) -> float:
    """The largest distance of any marginal: top, left, height, width, area, aspect."""
    both = [torch.stack([*w.T, w[:, 2] * w[:, 3], w[:, 3] / w[:, 2]]) for w in (ours, theirs)]
    return max(distance(own, their) for own, their in zip(*both, strict=True))


CRITICAL = 1.95 * (2 / 4000) ** 0.5  # two samples of 4,000 of one distribution are farther apart once in 1,000 times


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 120), (30, 21), (5, 4)])
def test_windows_are_distributed_as_torchvisions(height: int, width: int) -> None:
    count = 4000
    ours = ResizedCrop().windows(torch.empty(count, 3, height, width), generator())
    theirs = torchvision_windows(count, height, width)
    top, left, rows, columns = ours.unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + rows <= height).all()
    assert (left + columns <= width).all()
    assert min(int(rows.min()), int(columns.min())) >= 1
    assert farthest(ours, theirs) < CRITICAL
    for first, second in ((2, 3), (0, 2), (1, 3)):  # and together: heights with widths, places with sides
        own, their = (torch.corrcoef(windows[:, [first, second]].double().T)[0, 1] for windows in (ours, theirs))
        assert float(own) == pytest.approx(float(their), abs=0.08)


def test_the_statistical_test_finds_other_distributions() -> None:
    images, theirs = torch.empty(4000, 3, 64, 64), torchvision_windows(4000, 64, 64)
    for other in (ResizedCrop(scale=(0.2, 1.0)), ResizedCrop(aspect=(0.9, 1.1))):
        assert farthest(other.windows(images, generator()), theirs) > 2 * CRITICAL


@pytest.mark.parametrize(("height", "width"), [(4, 300), (300, 4)])
def test_where_no_window_fits_it_is_the_one_in_the_middle(height: int, width: int) -> None:
    found = ResizedCrop().windows(torch.empty(50, 3, height, width), generator())
    assert torch.equal(found, torchvision_windows(50, height, width))
    assert len(found.unique(dim=0)) == 1


def test_degenerate_arguments() -> None:
    """A window of at least one pixel is taken if no draw fits."""
    images = torch.empty(20, 1, 1, 9)
    assert (ResizedCrop(scale=(0.01, 0.01), aspect=(0.1, 0.2)).windows(images)[:, 2:] == 1).all()
    square = ResizedCrop(scale=(1.0, 1.0), aspect=(1.0, 1.0), flip=0.0)
    same = noise(3, 3, 8, 8)
    torch.testing.assert_close(square(same), same)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 56), (30, 21)])
def test_pixels_are_torchvisions(height: int, width: int) -> None:
    """In float64, so that nothing but the order of the arithmetic is left to differ."""
    images = noise(60, 3, height, width)
    windows = ResizedCrop().windows(images, generator())
    mirrored = torch.arange(60) % 3 == 0
    results = resized_windows(images, windows, mirrored)
    for image, window, turned, result in zip(images, windows, mirrored, results, strict=True):
        expected = functional.resized_crop(image[None], *window.tolist(), size=[height, width])[0]
        torch.testing.assert_close(result, expected.flip(-1) if turned else expected, rtol=0, atol=1e-12)


def test_float32_is_within_a_thousandth_of_a_gray_level() -> None:
    """The grid of 224 pixels is rounded to about 1e-5 of a pixel, and pixels of noise differ by up to 1."""
    images = noise(8, 3, 224, 224, dtype=torch.float32)
    windows, turned = ResizedCrop().windows(images, generator()), torch.zeros(8, dtype=torch.bool)
    exact = resized_windows(images.double(), windows, turned)
    torch.testing.assert_close(resized_windows(images, windows, turned).double(), exact, rtol=0, atol=5e-5)


def test_half_of_the_images_are_mirrored() -> None:
    image = noise(1, 1, 6, 6).expand(2000, -1, -1, -1)
    whole = ResizedCrop(scale=(1.0, 1.0), aspect=(1.0, 1.0))
    results = whole(image, generator())
    turned = (results - image.flip(-1)).abs().flatten(1).amax(1) < 1e-9
    same = (results - image).abs().flatten(1).amax(1) < 1e-9
    assert (turned ^ same).all()
    assert float(turned.double().mean()) == pytest.approx(0.5, abs=5 * 0.5 / 2000**0.5)


def test_white_stays_white() -> None:
    """Also in float32, where the weights of four pixels may add up to more than one."""
    white = torch.ones(64, 3, 37, 53)
    results = ResizedCrop()(white, generator())
    assert float(results.max()) <= 1
    torch.testing.assert_close(results, white)


def test_gradient_to_the_images() -> None:
    images = noise(4, 2, 5, 6, low=0.1, high=0.9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ResizedCrop()(x, generator()), (images,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": (0.0, 1.0)}, r"scale: .* in \(0, 1\], found \(0.0, 1.0\)"),
        ({"scale": (0.5, 0.4)}, "scale: expected two increasing fractions"),
        ({"scale": (0.5, float("nan"))}, "scale: expected"),
        ({"aspect": (0.0, 1.0)}, "aspect: expected two increasing numbers > 0"),
        ({"aspect": (1.0, float("inf"))}, "aspect: expected"),
        ({"flip": 1.5}, "flip: expected a probability"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResizedCrop(**arguments)  # type: ignore[arg-type]


def test_crop_is_flip_crop_without_the_flip() -> None:
    images = noise(200, 1, 7, 9)
    results = Crop(padding=0.3)(images, generator())
    assert torch.equal(results, FlipCrop(padding=0.3, flip=0.0)(images, generator()))
    falling = torch.eye(9, dtype=torch.float64).expand(200, 1, 9, 9)  # a line that would rise if it were mirrored
    rows, columns = Crop()(falling, generator())[:, 0].nonzero()[:, 1:].unbind(1)
    assert ((rows - columns).abs() <= 2).all()
