"""Checks that the learner sees what the training loop sees: the same images at the first layer, the same loss.

A policy is learned from the classifier's outputs on the images that the learner passes to it. If the loop prepares its
images otherwise (normalizes them itself, in another range), or trains with another loss, the policy is learned for
another classifier. The first training batches show it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_modules.learner.feature_capture import input_of, uncompiled
from lightning_modules.learner.head import untouched

_CLOSE = 2e-2  # relative to the largest value: a pass in bfloat16 rounds to 2^-8
_EXPLAINED = 1e-3  # share of the variance that an affine relation may leave


def first_input(model: nn.Module, pixels: Tensor) -> tuple[nn.Module, Tensor] | None:
    """The layer with weights that a model runs first, and its input; None if it has none.

    The model is run once on `[B, C, H, W]` and left as it was. Not between the forward and the backward pass of a step.
    """
    leaves = [part for part in model.modules() if not list(part.children()) and list(part.parameters())]
    calls: list[tuple[nn.Module, Tensor]] = []
    handles = [_record(leaf, lambda layer, value: calls.append((layer, value))) for leaf in leaves]
    try:
        with untouched(model), uncompiled(), torch.no_grad():
            model(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return calls[0] if calls else None


def _record(layer: nn.Module, record: Callable[[nn.Module, Tensor], None]) -> RemovableHandle:
    """Call `record` with the layer and its input, detached, before each of its passes."""
    return layer.register_forward_pre_hook(
        lambda part, args, kwargs: record(part, input_of(args, kwargs).detach()), with_kwargs=True
    )


def is_compiled(model: nn.Module) -> bool:
    """Return True if `torch.compile` has compiled a model or a part of it: its hooks may not be run."""
    of_lightning = getattr(model, "_compiler_ctx", None) is not None
    return of_lightning or any(hasattr(part, "_orig_mod") or part._compiled_call_impl for part in model.modules())


class FirstInputs:
    """Watches one pass of a training loop, from the augmentation of its batch to the optimizer's step.

    Args:
        model: The classifier, as the learner calls it.
        pixels: The augmented batch, `[B, C, H, W]` in [0, 1].
    """

    def __init__(self, model: nn.Module, pixels: Tensor) -> None:
        self.first = first_input(model, pixels)
        self.seen: list[Tensor] = []
        self._handle = self.first and _record(self.first[0], lambda _, value: self.seen.append(value))

    def stop(self) -> None:
        """Watch no longer."""
        if self._handle:
            self._handle.remove()

    def check(self) -> str | None:
        """Stop, and compare; see `check_images`."""
        self.stop()
        return None if self.first is None else check_images(self.first[1], self.seen)


def check_images(expected: Tensor, seen: Sequence[Tensor]) -> str | None:
    """Compare the inputs of the classifier's first layer in the loop's own pass with that from the learner.

    Returns:
        A warning: the loop changes its images in a way that the learner does not know. None if they are the same.

    Raises:
        ValueError: If they are normalized or scaled otherwise, with what to do.
    """
    if not seen:
        return "the training loop did not run the classifier that the policy is learned with: name the one it runs."
    ours = expected.float()
    same_shape = [one.float() for one in seen if one.shape == ours.shape]
    if any(_close(one, ours) for one in same_shape):
        return None
    for theirs in same_shape:
        if (relation := _affine(ours, theirs)) is not None:
            raise ValueError(_cause(*relation))
    return (
        "the training loop changes its images between the policy and the classifier (an augmentation of its own, "
        "another size?), which the learner does not see: the policy is learned without that change."
    )


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _CLOSE * other.abs().max().clamp(min=1e-6))


def _affine(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor] | None:
    """Factor and offset of each channel with `theirs = factor * ours + offset`; None if no such relation holds."""
    x, y = (
        part.transpose(0, 1).flatten(1).double() if part.ndim == 4 else part.flatten()[None].double()
        for part in (ours, theirs)
    )
    x_mean, y_mean = x.mean(dim=1, keepdim=True), y.mean(dim=1, keepdim=True)
    variance = (x - x_mean).square().sum(dim=1)
    if not bool((variance > 1e-12).all()) or not bool(y.isfinite().all()):
        return None  # constant or broken images show no relation
    factor = ((x - x_mean) * (y - y_mean)).sum(dim=1) / variance
    left = (y - y_mean - factor[:, None] * (x - x_mean)).square().sum(dim=1)
    if bool((left > _EXPLAINED * (y - y_mean).square().sum(dim=1)).any()):
        return None
    return factor, (y_mean[:, 0] - factor * x_mean[:, 0])


def _cause(factor: Tensor, offset: Tensor) -> str:
    """The usual cause of an affine relation, and what to do."""
    head = "the classifier gets other images in the training loop than from the learner: "
    for scale, words in ((255.0, "multiplied by 255"), (1 / 255, "divided by 255")):
        if torch.allclose(factor, factor.new_tensor(scale), rtol=0.02) and float(offset.abs().max()) < 0.02 * scale:
            return f"{head}they are {words} there. Do that in the data loader, or inside of the classifier."
    mean, std = (", ".join(f"{value:.3g}" for value in part.tolist()) for part in (-offset / factor, 1 / factor))
    return (
        f"{head}they are normalized there, (images - ({mean})) / ({std}). Let the classifier be the part that does "
        "this, as the LightningModule itself if its forward does; or normalize inside of the classifier; or in the "
        "data loader, and give mean and std (pixel_mean, pixel_std)."
    )


class LossAgreement:
    """Compares the loss of the first steps with the cross-entropy of this smoothing, which the influence follows."""

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing
        self._share: float | None = None

    def check(self, loss: Tensor, logits: Tensor, targets: Tensor, parts: Mapping[int | str, Any]) -> str | None:
        """Compare one step.

        Args:
            loss: Returned by the step, a scalar.
            logits: `[B, K]` of its pass.
            targets: Labels `[B]` or probabilities `[B, K]` that it was given.
            parts: The parts of the batch, by their place or key.

        Returns:
            A warning: the loss is another one. None if they agree, or if the next step has to decide.

        Raises:
            ValueError: If the labels are another part of the batch, are smoothed otherwise (in two steps alike), or the
                head is none of a classifier.
        """
        close = _CLOSE if logits.dtype.itemsize < 4 else 1e-3
        logits, value = logits.detach().float(), float(loss.detach())
        expected = _entropy(logits, targets, self.smoothing)
        if abs(value - expected) <= close * max(abs(value), 0.1):
            return None
        for place, part in parts.items():
            other = _are_labels(part, logits) and not torch.equal(part, targets)
            if other and abs(value - _entropy(logits, part, self.smoothing)) <= 1e-3 * max(abs(value), 0.1):
                raise ValueError(f"the labels are part {place!r} of the batch: give label_key={place!r}.")
        if (share := self._smoothing_share(value, logits, targets)) is not None:
            before, self._share = self._share, share
            if before is None:
                return None
            if before == share:
                raise ValueError(
                    f"the training step smooths its labels by {share:.2f}, and {self.smoothing:g} was stated: give "
                    f"label_smoothing={share:.2f}."
                )
        classes = len(targets.unique()) if targets.ndim == 1 else logits.shape[1]
        if logits.shape[1] > 2 * classes and len(logits) >= 4 * classes:
            raise ValueError(
                f"the last layer has {logits.shape[1]} outputs, the labels have {classes} classes, and the loss is no "
                "cross-entropy of the two: it is not the head of a classifier (checked_steps=0 if it is)."
            )
        return (
            f"the loss of the training step is {value:.4g}, the cross-entropy of its logits and labels {expected:.4g}: "
            "the influence follows the cross-entropy."
        )

    def _smoothing_share(self, value: float, logits: Tensor, targets: Tensor) -> float | None:
        """The label smoothing that explains a loss, in hundredths; None if none does."""
        hard, uniform = _entropy(logits, targets, 0.0), float(-logits.log_softmax(dim=1).mean())
        if abs(uniform - hard) < 1e-3:
            return None
        share = (value - hard) / (uniform - hard)
        near = abs(share - round(share, 2)) < 2e-3 and abs(share - self.smoothing) > 5e-3
        return abs(round(share, 2)) if -2e-3 < share < 0.995 and near else None


def _entropy(logits: Tensor, targets: Tensor, smoothing: float) -> float:
    return float(nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing))


def _are_labels(part: Any, logits: Tensor) -> bool:
    if not isinstance(part, Tensor) or part.dtype != torch.int64 or part.shape != logits.shape[:1]:
        return False
    return bool((part >= 0).all() & (part < logits.shape[1]).all())
