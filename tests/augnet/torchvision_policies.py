"""torchvision's automatic policies as an oracle: their tables, and one op on one image in float64."""

from functools import cache
from typing import Any

import torch
import torchvision.transforms.v2 as T
import torchvision.transforms.v2.functional as TF
from torch import Tensor

from augnet.classic import ClassicOp, classic_magnitudes, classic_space

NAMES: dict[str, ClassicOp] = {
    "Identity": "identity",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "Rotate": "rotate",
    "Brightness": "brightness",
    "Color": "color",
    "Contrast": "contrast",
    "Sharpness": "sharpness",
    "Posterize": "posterize",
    "Solarize": "solarize",
    "AutoContrast": "autocontrast",
    "Equalize": "equalize",
    "Invert": "invert",
}
Draw = tuple[str, float]  # torchvision's name of an op, and the magnitude it is called with


def eight_bit(*shape: int, seed: int = 0) -> Tensor:
    """Smooth random images of 256 levels, float64 in [0, 1], both ends included."""
    images = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    images = torch.nn.functional.avg_pool2d(images, 3, 1, 1)
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return ((images - low) / (high - low) * 255).round() / 255


def draws(policy: Any, name: str, bins: int, height: int, width: int) -> list[list[Draw]]:
    """Everything torchvision may do for one op: for each bin, the possible magnitudes."""
    function, signed = policy._AUGMENTATION_SPACE[name]
    magnitudes = function(bins, height, width)
    if magnitudes is None:
        return [[(name, 0.0)]] * bins
    return [[(name, -float(m)), (name, float(m))] if signed else [(name, float(m))] for m in magnitudes]


def row(draw: Draw, height: int, width: int) -> tuple[float, ...]:
    """The row of `classic_space()` that should do the same, rounded so that equal rows compare equal."""
    name, magnitude = draw
    if name == "Posterize":
        magnitude = 8 - magnitude
    elif name == "Solarize":
        magnitude = 1 - between_levels(magnitude)
    elif name.startswith("Translate"):
        magnitude = float(int(magnitude))
    elif name in ("AutoContrast", "Equalize", "Invert"):
        magnitude = 1.0
    strength = torch.tensor([magnitude], dtype=torch.float64)
    return key(classic_magnitudes(NAMES[name], strength, height, width)[0])


def between_levels(threshold: float) -> float:
    """A threshold that parts the 256 levels as torch compares bytes with it, in float32, and equals none of them."""
    return (float(torch.tensor(255 * threshold).ceil()) - 0.5) / 255


def key(magnitudes: Tensor) -> tuple[float, ...]:
    """A row as something to look up."""
    return tuple(round(value, 5) + 0.0 for value in magnitudes.tolist())


def nothing() -> tuple[float, ...]:
    """The row that changes nothing."""
    return (0.0,) * len(classic_space())


@cache
def _torchvision(interpolation: str) -> Any:
    return T.TrivialAugmentWide(interpolation=T.InterpolationMode(interpolation))


def on_bytes(image: Tensor, draw: Draw, interpolation: str = "nearest") -> Tensor:
    """torchvision's own result on the 8-bit image `[C, H, W]`, as it trains: float64 in [0, 1]."""
    policy = _torchvision(interpolation)
    levels = (image * 255).round().to(torch.uint8)
    changed: Tensor = policy._apply_image_or_video_transform(levels, *draw, policy.interpolation, policy._fill)
    return changed.double() / 255


def on_floats(image: Tensor, draw: Draw, interpolation: str = "nearest") -> Tensor:
    """The same without rounding to 8 bits wherever torchvision can; for sequences, where roundings add up."""
    name, magnitude = draw
    rounded = (image * 255).round() / 255
    if name == "Equalize":
        return on_bytes(image, draw)
    if name == "Posterize":
        return (image - (rounded - on_bytes(image, draw))).clamp(min=0)
    if name == "Solarize":
        solarized: Tensor = TF.solarize(image, threshold=between_levels(magnitude))
        return solarized
    policy = _torchvision(interpolation)
    result: Tensor = policy._apply_image_or_video_transform(image, name, magnitude, policy.interpolation, policy._fill)
    return result
