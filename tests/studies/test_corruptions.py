from itertools import pairwise

import numpy as np
import pytest
import torch
from kornia.enhance import jpeg_codec_differentiable
from scipy.ndimage import gaussian_filter
from torch import Tensor

from lightning_modules.data import LabelledImages, MemoryStore
from studies.corruptions import CORRUPTIONS, check_corruptions, corrupt, corrupted_copy

SIDE = 32


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Smooth colored images with edges, in [0.1, 0.9]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    smooth[:, :, 8:16, 8:16] = coarse[:, :, 1:2, 1:2]
    return 0.1 + 0.8 * smooth


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_grows_with_its_severity(name: str, images: Tensor) -> None:
    before = torch.get_rng_state()
    corrupted = [corrupt(images, name, severity, seed=0) for severity in range(1, 6)]
    distances = [float((image - images).abs().mean()) for image in corrupted]
    assert distances[0] > 5e-4
    assert distances[0] < distances[2] < distances[4]
    assert all(a <= b * 1.02 for a, b in pairwise(distances))
    for image in corrupted:
        assert image.shape == images.shape
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(corrupt(images, name, 3, seed=0), corrupted[2])


def test_noise_has_the_deviation_it_says_and_differs_between_images() -> None:
    gray = torch.full((50, 3, SIDE, SIDE), 0.5)
    noise = corrupt(gray, "gaussian_noise", 5, seed=0) - 0.5
    assert float(noise.std()) == pytest.approx(0.14, rel=0.02)
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, corrupt(gray, "gaussian_noise", 5, seed=1) - 0.5)


def test_salt_and_pepper_hits_the_share_it_says() -> None:
    changed = corrupt(torch.full((100, 3, SIDE, SIDE), 0.5), "salt_and_pepper", 5, seed=0) != 0.5
    assert float(changed.any(dim=1).float().mean()) == pytest.approx(0.1, rel=0.1)


def test_blur_is_that_of_scipy(images: Tensor) -> None:
    ours = corrupt(images, "gaussian_blur", 5, seed=0)
    theirs = gaussian_filter(images.numpy(), 0.05 * SIDE, axes=(2, 3), mode="mirror", truncate=3.4)
    assert np.abs(ours.numpy() - theirs)[:, :, 4:-4, 4:-4].max() < 2e-3


def test_jpeg_is_that_of_kornia(images: Tensor) -> None:
    """kornia's codec is a differentiable approximation: it lies closer to ours than the image does."""
    ours = corrupt(images, "jpeg", 4, seed=0)
    theirs = jpeg_codec_differentiable(images, torch.full((len(images),), 25.0))
    assert float((ours - theirs).abs().mean()) < 0.5 * float((ours - images).abs().mean())


def test_no_saturation_is_gray(images: Tensor) -> None:
    gray = corrupt(images, "saturation", 5, seed=0)
    assert torch.allclose(gray.amax(dim=1), gray.amin(dim=1), atol=1e-3)


def test_gray_images_can_be_corrupted() -> None:
    images = torch.rand(2, 1, 8, 12)
    for name in sorted(set(CORRUPTIONS) - {"saturation"}):
        assert corrupt(images, name, 3, seed=0).shape == images.shape, name


def test_a_corrupted_dataset_keeps_its_labels(images: Tensor) -> None:
    dataset = LabelledImages(MemoryStore((images * 255).byte()), torch.arange(8))
    copy = corrupted_copy(dataset, "contrast", 5, seed=0)
    assert torch.equal(copy.labels, dataset.labels)
    assert float(copy.everything()[0].std()) < 0.5 * float(dataset.everything()[0].std())


def test_unknown_corruptions_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown 'fog'; known are gaussian_noise"):
        check_corruptions(["jpeg", "fog"], 3)
    with pytest.raises(ValueError, match="severity must be 1 to 5"):
        check_corruptions(["jpeg"], 6)
    with pytest.raises(ValueError, match="saturation needs RGB"):
        corrupt(torch.rand(1, 1, 8, 8), "saturation", 1, seed=0)
