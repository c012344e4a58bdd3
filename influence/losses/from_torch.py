"""The loss behind what a user trains with: a module of torch, or any function."""

from collections.abc import Callable

from torch import Tensor, nn

from influence.losses.autograd import AutogradLoss
from influence.losses.base import Loss
from influence.losses.binary import BinaryCrossEntropy
from influence.losses.cross_entropy import CrossEntropy

LossLike = Loss | nn.Module | Callable[[Tensor, Tensor], Tensor]

_OF_PROBABILITIES = (nn.BCELoss, nn.NLLLoss, nn.KLDivLoss)
_OF_SOMETHING_ELSE = (
    nn.CTCLoss,
    nn.CosineEmbeddingLoss,
    nn.HingeEmbeddingLoss,
    nn.MarginRankingLoss,
    nn.TripletMarginLoss,
    nn.AdaptiveLogSoftmaxWithLoss,
)
_FUNCTIONS: dict[object, Loss] = {
    nn.functional.cross_entropy: CrossEntropy(ignore_index=-100),
    nn.functional.binary_cross_entropy_with_logits: BinaryCrossEntropy(),
}


def loss_from(loss: LossLike | None, label_smoothing: float = 0.0) -> Loss:
    """Return the loss that a training loop minimizes, in closed form where there is one.

    Args:
        loss: A module or function called as `loss(logits, targets)`; None for cross-entropy.
        label_smoothing: Of that cross-entropy, in [0, 1).

    Raises:
        TypeError: If the loss cannot be called.
        ValueError: If it takes something else than logits, or is given together with `label_smoothing`.
    """
    if loss is None:
        return CrossEntropy(label_smoothing=label_smoothing)
    if label_smoothing:
        raise ValueError(f"label_smoothing={label_smoothing} is for the default loss: set it in the loss that is given")
    if isinstance(loss, Loss):
        return loss
    if loss in _FUNCTIONS:
        return _FUNCTIONS[loss]
    name = type(loss).__name__ if isinstance(loss, nn.Module) else getattr(loss, "__name__", type(loss).__name__)
    if not callable(loss):
        raise TypeError(f"expected a loss to call with logits and targets, found {name}: give a module or a function")
    if isinstance(loss, _OF_PROBABILITIES):
        raise ValueError(
            f"{name} takes probabilities, and the influence follows a loss of logits: train with CrossEntropyLoss or "
            "BCEWithLogitsLoss, which are more exact too, or give a function that takes logits"
        )
    if isinstance(loss, _OF_SOMETHING_ELSE):
        raise ValueError(f"{name} is no loss of one image's logits and target: train with one that is")
    return _closed_form(loss) or AutogradLoss(loss, name)


def _closed_form(loss: object) -> Loss | None:
    """Return the closed form of a module of torch itself; a subclass may compute something else."""
    if type(loss) is nn.CrossEntropyLoss:
        return CrossEntropy(loss.weight, loss.label_smoothing, loss.ignore_index)
    if type(loss) is nn.BCEWithLogitsLoss:
        return BinaryCrossEntropy(loss.weight, loss.pos_weight)
    if type(loss) is nn.MultiLabelSoftMarginLoss:
        return BinaryCrossEntropy(loss.weight)
    return None
