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

from influence.losses import Loss
from lightning_modules.learner.feature_capture import FeatureCapture, input_of, uncompiled
from lightning_modules.learner.head import untouched
from lightning_modules.learner.loss_agreement import HeadPasses, check_loss

_CLOSE = 2e-2  # relative to the largest value: a pass in bfloat16 rounds to 2^-8
_EXPLAINED = 1e-3  # share of the variance that an affine relation may leave


def first_input(model: nn.Module, pixels: Tensor) -> tuple[nn.Module, Tensor] | None:
    """The layer with weights that a model runs first, and its input; None if it has none.

    The model is run once on `[B, C, H, W]` and left as it was. Not between the forward and the backward pass of a step.
    """
    leaves = [part for part in model.modules() if not list(part.children()) and list(part.parameters())]
    calls: list[tuple[nn.Module, Tensor]] = []
    handles = [_record(leaf, lambda layer, value: calls.append((layer, value.clone()))) for leaf in leaves]
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


class WatchedStep:
    """Watches one step of a training loop, from the augmentation of its batch to the end of the backward pass.

    Args:
        capture: The classifier, as the learner calls it.
        pixels: The augmented batch, `[B, C, H, W]` in [0, 1].
        targets: Its labels, `[B]` or `[B, K]`.
        parts: The parts of the batch, by their place or key.
    """

    def __init__(
        self, capture: FeatureCapture, pixels: Tensor, targets: Tensor, parts: Mapping[int | str, Any] | None = None
    ) -> None:
        self.targets, self.parts = targets, parts
        self.first = first_input(capture.model, pixels)
        self.seen: list[Tensor] = []
        self._handle = self.first and _record(self.first[0], lambda _, value: self.seen.append(value))
        self.head = HeadPasses(capture.head)

    def stop(self) -> None:
        """Watch no further pass."""
        self.head.stop()
        if self._handle:
            self._handle.remove()

    def check_images(self) -> str | None:
        """Stop, and compare the images, see `check_images`."""
        self.stop()
        return None if self.first is None else check_images(self.first[1], self.seen)

    def check_loss(self, loss: Loss, module: nn.Module | None = None) -> None:
        """Compare the loss, after the backward pass, see `check_loss`; `module` may hold it."""
        check_loss(self.head, loss, self.targets, self.parts, module)


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
