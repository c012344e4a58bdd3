"""Checks that the learner follows the loss that a training loop minimizes, by its gradient at the logits.

The gradient that reaches the head's output in the loop's own backward pass is compared with that of the learner's loss,
up to a factor: terms that do not depend on the logits, and scales for mixed precision or accumulation, do not matter.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from influence.losses import AutogradLoss, CrossEntropy, Loss, loss_from

_CLOSE, _CLOSE_HALF = 1e-3, 3e-2  # relative; half precision rounds each logit by 2^-8
_SMALLEST = 1e-12


class HeadPasses:
    """Records the logits of a head in somebody's training step, and the gradients that reach them later.

    Args:
        head: The classifier's last layer.

    Attributes:
        passes: Logits `[B, K]` of each pass, and a list that holds their gradient after the backward pass.
    """

    def __init__(self, head: nn.Module) -> None:
        self.passes: list[tuple[Tensor, list[Tensor]]] = []
        self._handle = head.register_forward_hook(lambda _, args, output: self._record(output))

    def _record(self, logits: Tensor) -> None:
        if logits.requires_grad and logits.ndim == 2:
            gradients: list[Tensor] = []
            logits.register_hook(gradients.append)
            self.passes.append((logits.detach().clone(), gradients))

    def stop(self) -> None:
        """Record no further pass; gradients of recorded ones still arrive."""
        self._handle.remove()


def check_loss(
    recorded: HeadPasses,
    loss: Loss,
    targets: Tensor,
    parts: Mapping[int | str, Any] | None = None,
    module: nn.Module | None = None,
) -> None:
    """Compare the loss of a training step with that of the learner, after its backward pass.

    Nothing is compared where no gradient has reached a pass over as many samples as there are targets.

    Args:
        recorded: The passes of the head in that step.
        loss: That of the learner.
        targets: Of the batch.
        parts: The parts of the batch, by their place or key, among which the labels may be instead.
        module: Whose parts may hold the loss.

    Raises:
        ValueError: If the loss is another one, with what to do.
    """
    passes = [
        (logits.float(), gradients[-1].float(), _CLOSE_HALF if logits.dtype.itemsize < 4 else _CLOSE)
        for logits, gradients in recorded.passes
        if gradients and len(logits) == len(targets) and bool(gradients[-1].isfinite().all())
    ]
    if not passes or any(_follows(loss, *one, targets) for one in passes):
        return
    logits, gradient, close = passes[0]
    for place, part in (parts or {}).items():
        if _are_labels(part, logits) and part is not targets and _follows(loss, logits, gradient, close, part):
            raise ValueError(f"the labels are part {place!r} of the batch: give label_key={place!r}.")
    _check_head(logits, targets)
    if isinstance(loss, CrossEntropy) and (share := _smoothing(logits, gradient, close, targets)) is not None:
        raise ValueError(
            f"the training step smooths its labels by {share:.2f}, and {loss.label_smoothing:g} was stated: give "
            f"label_smoothing={share:.2f}."
        )
    known = f"the {loss.name}" if isinstance(loss, AutogradLoss) else f"the {type(loss).__name__}"
    raise ValueError(
        f"the training step minimizes another loss of the logits than {known} that the learner follows"
        f"{_guess(logits, gradient, close, targets, module)}; or checked_steps=0, if the difference is meant."
    )


def _follows(loss: Loss, logits: Tensor, gradient: Tensor, close: float, targets: Tensor) -> bool:
    """Return True if a gradient `[B, K]` at the logits is that of a loss, up to a positive factor."""
    try:
        ours = loss.gradient(logits, targets).detach().double()
    except (ValueError, TypeError):
        return False
    theirs = gradient.double()
    size = theirs.norm()
    if float(size) < _SMALLEST or float(ours.norm()) < _SMALLEST:
        return True  # nothing to compare
    factor = (ours * theirs).sum() / ours.square().sum()
    return bool((factor > 0) & ((theirs - factor * ours).norm() <= close * size))


def _smoothing(logits: Tensor, gradient: Tensor, close: float, targets: Tensor) -> float | None:
    """Return the label smoothing with which cross-entropy has a gradient, None if there is none."""
    shares = CrossEntropy(ignore_index=-100).expand(targets, logits)
    columns = [logits.softmax(dim=1) - shares, shares - 1 / logits.shape[1]]
    matrix = torch.stack([column.flatten() for column in columns], dim=1).double()
    factor, smooth = torch.linalg.lstsq(matrix, gradient.double().flatten()[:, None]).solution[:, 0].tolist()
    share = smooth / factor if factor > 0 else -1.0
    if not -close < share < 1:
        return None
    share = max(share, 0.0)
    return share if _follows(CrossEntropy(label_smoothing=share), logits, gradient, close, shares) else None


def _check_head(logits: Tensor, targets: Tensor) -> None:
    """Raise ValueError if a head has many more outputs than there are classes."""
    classes = len(targets.unique()) if targets.ndim == 1 else logits.shape[1]
    if logits.shape[1] > 2 * classes and len(logits) >= 4 * classes:
        raise ValueError(
            f"the last layer has {logits.shape[1]} outputs, the labels have {classes} classes, and the loss is no "
            "cross-entropy of the two: it is not the head of a classifier (checked_steps=0 if it is)."
        )


def _guess(logits: Tensor, gradient: Tensor, close: float, targets: Tensor, module: nn.Module | None) -> str:
    """Return which loss it is, and how to give it, as the end of a sentence."""
    for name, part in () if module is None else module.named_modules():
        if name and not list(part.parameters()) and type(part).__name__.endswith("Loss"):
            try:
                found = _follows(loss_from(part), logits, gradient, close, targets)
            except ValueError:
                continue
            if found:
                return f", its {type(part).__name__}: give loss=module.{name}"
    for words, loss in _common(logits.shape[1]):
        if _follows(loss, logits, gradient, close, targets):
            return f". It looks like {words}: give it as loss, a function of logits and labels"
    return ": give it as loss, a module or a function of logits and labels"


def _common(classes: int) -> Iterator[tuple[str, Loss]]:
    """Yield losses that classifiers are trained with, in words and as they are."""

    def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
        return nn.functional.one_hot(labels, classes).to(logits) if labels.ndim == 1 else labels.to(logits)

    def one_against_all(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits, one_hot(labels, logits))

    def squared(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.mse_loss(logits, one_hot(labels, logits))

    def focal(logits: Tensor, labels: Tensor) -> Tensor:
        chosen = (logits.log_softmax(dim=1) * one_hot(labels, logits)).sum(dim=1)
        return -((1 - chosen.exp()).square() * chosen).mean()

    yield "a binary cross-entropy of each class against all others", AutogradLoss(one_against_all, "one_against_all")
    yield "the squared error of the logits from the one-hot labels", AutogradLoss(squared, "squared")
    yield "a focal loss with gamma 2", AutogradLoss(focal, "focal")


def _are_labels(part: Any, logits: Tensor) -> bool:
    if not isinstance(part, Tensor) or part.dtype != torch.int64 or part.shape != logits.shape[:1]:
        return False
    return bool((part >= 0).all() & (part < logits.shape[1]).all())
