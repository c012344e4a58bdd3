"""Out-of-distribution images: the validation images under corruptions that no policy was asked to know.

The families are those of Hendrycks and Dietterich, 2019 (noise, blur, digital, light), made by kornia, torchvision
and Pillow on images of any size. Lengths are fractions of the shorter side. The strengths are this project's:
accuracies cannot be compared with those published for CIFAR-10-C. Policies that move brightness, contrast or
saturation have met these three, which is why accuracies are reported for each corruption as well.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from kornia.augmentation import RandomSaltAndPepperNoise
from kornia.enhance import adjust_brightness, adjust_contrast_with_mean_subtraction, adjust_saturation
from kornia.filters import gaussian_blur2d, motion_blur
from kornia.geometry.transform import resize
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_noise

from lightning_modules.data import LabelledImages
from lightning_modules.data.store import MemoryStore, as_bytes

Corruption = Callable[[Tensor, float], Tensor]
_CHUNK = 512
_NEEDS_COLOR = frozenset({"saturation"})


def _gaussian_noise(images: Tensor, deviation: float) -> Tensor:
    noisy: Tensor = gaussian_noise(images, sigma=deviation)
    return noisy


def _salt_and_pepper(images: Tensor, share: float) -> Tensor:
    noisy: Tensor = RandomSaltAndPepperNoise(amount=(share, share), salt_vs_pepper=(0.5, 0.5), p=1.0)(images)
    return noisy


def _gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    pixels = sigma * min(images.shape[-2:])
    side = 2 * max(1, round(3 * pixels)) + 1
    blurred: Tensor = gaussian_blur2d(images, (side, side), (pixels, pixels))
    return blurred


def _motion_blur(images: Tensor, length: float) -> Tensor:
    side = 2 * max(1, round(length * min(images.shape[-2:]) / 2)) + 1
    angles = torch.rand(len(images)) * 180
    blurred: Tensor = motion_blur(images, side, angles, torch.zeros(len(images)), border_type="replicate")
    return blurred


def _pixelate(images: Tensor, factor: float) -> Tensor:
    height, width = images.shape[-2:]
    small = resize(images, (max(1, round(height * factor)), max(1, round(width * factor))), "area")
    large: Tensor = resize(small, (height, width), "area")  # blocks, without the shift of the nearest pixel
    return large


def _jpeg(images: Tensor, quality: float) -> Tensor:
    pixels = as_bytes(images).permute(0, 2, 3, 1).numpy()
    decoded = [_through_jpeg(image, int(quality)) for image in pixels]
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode and decode `[H, W, C]`, C = 1 or 3."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer)).reshape(pixels.shape)


# name -> function, and its strength at severity 1 to 5
CORRUPTIONS: Mapping[str, tuple[Corruption, Sequence[float]]] = MappingProxyType(
    {
        "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.1, 0.14)),  # standard deviation
        "salt_and_pepper": (_salt_and_pepper, (0.01, 0.02, 0.04, 0.06, 0.1)),  # share of the pixels
        "gaussian_blur": (_gaussian_blur, (0.015, 0.02, 0.03, 0.04, 0.05)),  # sigma, of the side
        "motion_blur": (_motion_blur, (0.06, 0.1, 0.15, 0.2, 0.25)),  # length, of the side
        "pixelate": (_pixelate, (0.9, 0.8, 0.65, 0.5, 0.35)),  # of the resolution
        "jpeg": (_jpeg, (80, 60, 40, 25, 15)),  # quality
        "brightness": (adjust_brightness, (0.1, 0.15, 0.2, 0.3, 0.4)),  # added
        "contrast": (adjust_contrast_with_mean_subtraction, (0.7, 0.5, 0.35, 0.25, 0.15)),  # factor
        "saturation": (adjust_saturation, (0.6, 0.4, 0.2, 0.1, 0.0)),  # factor
    }
)


def check_corruptions(names: Sequence[str], severity: int, channels: int | None = None) -> None:
    """Raise ValueError if a name is unknown, the severity is not 1 to 5, or gray images are to lose their color."""
    unknown = [name for name in names if name not in CORRUPTIONS]
    if unknown:
        raise ValueError(f"corruptions: unknown {unknown[0]!r}; known are {', '.join(CORRUPTIONS)}.")
    if not 1 <= severity <= 5:
        raise ValueError(f"severity must be 1 to 5, found {severity}.")
    if channels is not None and channels != 3 and (needs_color := sorted(_NEEDS_COLOR & set(names))):
        raise ValueError(f"corruptions: {needs_color[0]} needs RGB images, these have {channels} channel(s).")


def corrupt(images: Tensor, name: str, severity: int, seed: int) -> Tensor:
    """Corrupt images.

    Args:
        images: `[B, C, H, W]` in [0, 1].
        name: Key of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: Seed of the draws; torch's own generator is left as it was.

    Returns:
        `[B, C, H, W]` in [0, 1].

    Raises:
        ValueError: See `check_corruptions`.
    """
    check_corruptions([name], severity, images.shape[1])
    function, strengths = CORRUPTIONS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return function(images, strengths[severity - 1]).clamp(0, 1)


def corrupted_copy(dataset: LabelledImages, name: str, severity: int, seed: int) -> LabelledImages:
    """Return the images of a dataset corrupted, in memory as uint8, with their labels."""
    parts = []
    for start in range(0, len(dataset), _CHUNK):
        images, _ = dataset.__getitems__(range(start, min(start + _CHUNK, len(dataset))))
        parts.append(as_bytes(corrupt(images, name, severity, seed + start)))
    return LabelledImages(MemoryStore(torch.cat(parts)), dataset.labels)
