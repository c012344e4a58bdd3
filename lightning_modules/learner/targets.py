"""Labels as the loss takes them: class numbers, or probabilities once images have been mixed."""

import torch
from torch import Tensor, nn

from augnet.baselines import Baseline, MixingBaseline


def as_probabilities(labels: Tensor, num_classes: int) -> Tensor:
    """Labels `[B]` int64 or `[B, K]` as probabilities `[B, K]`; carries the gradient of the latter."""
    return nn.functional.one_hot(labels, num_classes).float() if labels.ndim == 1 else labels


def as_classes(labels: Tensor) -> Tensor:
    """Labels `[B]` int64 or `[B, K]` as class numbers `[B]`, of mixed images those of the larger share."""
    return labels if labels.ndim == 1 else labels.argmax(dim=1)


def smoothed(labels: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """Targets of label smoothing, `(1 - smoothing) target + smoothing / K`; with 0 the labels as they are.

    Labels are `[B]` int64, or `[B, K]` probabilities, whose gradient is carried. The logits `[B, K]` give K and the
    precision.
    """
    if smoothing == 0:
        return labels
    num_classes = logits.shape[1]
    targets = as_probabilities(labels, num_classes).to(torch.promote_types(logits.dtype, torch.float32))
    return (1 - smoothing) * targets + smoothing / num_classes


def apply_base(
    base: Baseline | MixingBaseline | None,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply a base policy to images `[B, C, H, W]` in [0, 1] and labels `[B]`.

    The labels become probabilities `[B, K]` if it mixes images. `None` is torch's default generator.
    """
    if base is None:
        return images, labels
    if isinstance(base, MixingBaseline):
        mixed: tuple[Tensor, Tensor] = base(images, as_probabilities(labels, num_classes), generator)
        return mixed
    return base(images, generator), labels
