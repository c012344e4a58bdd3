"""Checks of numbers and images that raise before anything is trained on them."""

import math
from importlib.util import find_spec
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

_TOLERANCE = 1e-4  # interpolation may leave [0, 1] by a rounding error


def require_at_least(minimum: int, **values: int | None) -> None:
    """Raise ValueError when one of the named numbers is below the minimum; `None` (not given) passes."""
    for name, value in values.items():
        if value is not None and value < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}.")


def require_package(package: str, extra: str, purpose: str) -> None:
    """Raise ValueError, naming the extra that brings it, unless a package is installed; does not import it."""
    if find_spec(package) is None:
        raise ValueError(f"{purpose} needs the package {package}: pip install 'augfluence[{extra}]'.")


def check_numbers(owner: str, interval: str, /, **values: Any) -> None:
    """Raise ValueError unless each of the named values is a number in an interval.

    Args:
        owner: What stands in front of the names in the message: `learner.` for `learner.lr`.
        interval: Two numbers in brackets, round ones for an end that is left out, as `(0, 1]`; NaN is in none.
            `(0, 1] or null` also takes None (not given).
        **values: The values under the names their user knows them by.
    """
    ends, _, null = interval.partition(" or ")
    low, high = (float(end) for end in ends[1:-1].split(","))
    for name, value in values.items():
        if value is None and null:
            continue
        number = float(value) if isinstance(value, int | float | np.number) and value is not True else math.nan
        inside = low <= number <= high and not (ends[0] == "(" and number == low)
        if not inside or (ends[-1] == ")" and number == high):
            found = "null" if value is None else value
            raise ValueError(f"{owner}{name} must lie in {interval}, found {found}.")


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise ValueError, naming the field, unless the value is one of a `Literal`'s choices."""
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, found {value!r}.")


def check_batch(images: Any) -> None:
    """Raise ValueError unless images are a batch of floating-point numbers; does not read them."""
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images must be a tensor [B, C, H, W], found a {type(images).__name__}: convert with torch.stack(images), "
            "or torch.from_numpy(images)."
        )
    if images.ndim != 4:
        raise ValueError(
            f"images must have 4 axes [B, C, H, W], got shape {tuple(images.shape)}: add the missing axis, "
            "for one image images.unsqueeze(0), for gray images without a channel images.unsqueeze(1)."
        )
    if not images.is_floating_point():
        raise ValueError(
            f"images must be floating point in [0, 1], got {images.dtype}: convert with images.float() / 255."
        )
    if images.numel() == 0:
        raise ValueError(f"images is empty, got shape {tuple(images.shape)}: give at least one image.")


def validate_images(images: Tensor) -> None:
    """Raise ValueError unless the batch keeps the image contract: float `[B, C, H, W]`, finite, in [0, 1].

    It reads every value (on an accelerator it waits for them): call it on the first batch, not on each.
    """
    check_batch(images)
    if not torch.isfinite(images).all():
        raise ValueError("images hold NaN or infinite values: look for a division by zero in what made them.")
    low, high = (float(value) for value in images.aminmax())
    if low < -_TOLERANCE:
        raise ValueError(
            f"images must lie in [0, 1], got values from {low:.4g} to {high:.4g}: negative values come from "
            "normalization; take it out of the data, or give its mean and standard deviation (mean and std, or "
            "pixel_mean and pixel_std)."
        )
    if high > 1 + _TOLERANCE:
        raise ValueError(
            f"images must lie in [0, 1], got values from {low:.4g} to {high:.4g}: "
            "divide 8-bit images by 255, and leave normalization to the classifier's side."
        )


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Raise ValueError unless labels are class numbers: int64 `[B]` in 0..K-1."""
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise ValueError(
            f"labels must be int64 class numbers [B], got {labels.dtype} of shape {tuple(labels.shape)}: "
            "convert with labels.long()."
        )
    outside = labels[(labels < 0) | (labels >= num_classes)].unique().tolist()
    if outside:
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1} for {num_classes} classes, got {outside[:5]}: "
            "number the classes from 0, or set num_classes."
        )


def check_alike(images: Tensor, labels: Tensor | None, influence: Tensor) -> None:
    """Raise ValueError unless training images have the device, type and channels of the influence images.

    Their labels must be on the same device.
    """
    if labels is not None and labels.device != images.device:
        raise ValueError(
            f"the images are on {images.device} and the labels on {labels.device}: move both to one device."
        )
    pairs = {
        "device": (images.device, influence.device),
        "type": (images.dtype, influence.dtype),
        "number of channels": (images.shape[1], influence.shape[1]),
    }
    remedies = {
        "device": "move the batch to the model's device, and the model before it is given",
        "type": "convert one of them; train in lower precision by autocast",
        "number of channels": "prepare them in the same way, as [B, C, H, W]",
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise ValueError(
                f"the {name} of the training images is {found}, that of the influence images {expected}: "
                f"{remedies[name]}."
            )


def check_pairs(images: Tensor, labels: Any) -> None:
    """Raise ValueError unless labels, `[B]` or probabilities `[B, K]`, are a tensor with one row for each image."""
    if not isinstance(labels, Tensor):
        raise ValueError(
            f"labels must be a tensor, found a {type(labels).__name__}: convert with torch.tensor(labels)."
        )
    if labels.ndim == 0 or len(labels) != len(images):
        raise ValueError(f"expected one label for each of {len(images)} images, found shape {tuple(labels.shape)}.")
