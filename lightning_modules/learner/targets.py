"""Labels as the loss takes them: class numbers, probabilities once images have been mixed, several labels an image."""

import warnings

import torch
from torch import Tensor, nn

from augnet.baselines import Baseline, MixingBaseline
from influence.losses import CrossEntropy, Loss
from lightning_modules.learner.checks import check_labels

_ROW_SUM = 2e-2  # tolerance of a row of probabilities, in half precision
_TRIED = 32  # samples of the influence set that the loss is tried on


def check_influence_labels(labels: Tensor, loss: Loss, num_outputs: int) -> None:
    """Raise ValueError unless a loss can be followed on influence labels `[M]` or `[M, K]` with K outputs."""
    check_for_loss(labels, loss, num_outputs)
    left_out = loss.ignore_index if isinstance(loss, CrossEntropy) else None
    if left_out is not None and labels.ndim == 1 and not bool((labels != left_out).any()):
        raise ValueError(f"all labels of the influence set are {left_out}, which the loss leaves out.")
    some = labels[:_TRIED]
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(some), num_outputs, generator=generator).to(labels.device)
    loss.check(logits, some)


def check_for_loss(labels: Tensor, loss: Loss, num_outputs: int) -> None:
    """Raise ValueError unless a loss can take labels `[B]` or `[B, K]` with the logits of K outputs."""
    if isinstance(loss, CrossEntropy) and labels.ndim == 1:
        kept = labels if loss.ignore_index is None else labels[labels != loss.ignore_index]
        check_labels(kept, num_outputs)
        return
    try:
        loss.expand(labels, torch.zeros(len(labels), num_outputs, device=labels.device))
    except TypeError as error:
        raise ValueError(f"labels: {error}") from error


def check_for_policy(labels: Tensor, num_classes: int, mixes: bool) -> None:
    """Raise ValueError unless a policy can take labels: one for each class, or one that mixes images and labels.

    Args:
        labels: `[B]` or `[B, K]`.
        num_classes: Of a policy that depends on the class; 0 for others.
        mixes: True if images and their labels are mixed.
    """
    if num_classes:
        if labels.ndim == 1 and not labels.is_floating_point():
            check_labels(labels, num_classes)
        elif labels.ndim != 2 or bool(((labels.sum(dim=1) - 1).abs() > _ROW_SUM).any()):
            raise ValueError(
                "the policy depends on the class of an image, expected class numbers [B] or probabilities [B, K], "
                f"found {labels.dtype} of shape {tuple(labels.shape)}: take another policy, for instance ranges."
            )
    elif mixes and labels.ndim == 1:
        if labels.is_floating_point():
            raise ValueError("images are mixed, and their labels with them: give float labels as [B, K].")
        if bool((labels < 0).any()):
            raise ValueError("images are mixed, and a label that the loss leaves out cannot be: leave mixing out.")


def warn_of_missing_classes(labels: Tensor, num_outputs: int) -> None:
    """Warn if a class has no image in the influence set: deployment may lack it too, and the run goes on."""
    shown = labels.unique().tolist() if labels.ndim == 1 else labels.any(dim=0).nonzero().flatten().tolist()
    missing = sorted(set(range(num_outputs)) - set(shown)) if num_outputs > 1 else []
    if missing:
        named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        warnings.warn(
            f"the influence set has no image of {len(missing)} of {num_outputs} classes ({named}): the policy follows "
            "the loss on the others. If deployment has them, add images of them.",
            stacklevel=3,
        )


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
