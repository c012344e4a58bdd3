r"""Distinctive regularization: two classifier layers that are kept from becoming the same, for large batches.

The last layer `W_t` has a copy `W_r` with weights of its own, and the training loss is `CE + beta D(W_t, W_r)` with a
bounded penalty; after Yuan, Hua, Zhou and Yu, *Contrastive Weight Regularization for Large Minibatch SGD* (2020). What
of it is this project's own choice: docs/method.md, "Distinctive regularization".

A trap: with the mean of the logits, `(W_t + W_r) h / 2`, the loss depends on the sum of the two alone. A penalty of
their difference alone then moves nothing that the network computes: under SGD, also with momentum and weight decay,
the sum goes the same way with the penalty and without it. This combination is refused.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_modules.learner.checks import check_choice
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

Penalty = Literal["none", "cosine", "rbf", "hinge"]
Merge = Literal["losses", "logits"]


# The penalties take target and copy `[K, D]`, which carry gradient, and return a scalar, the mean over rows.


def cosine_penalty(target: Tensor, copy: Tensor) -> Tensor:
    """Squared cosine of each row with its copy, in [0, 1]: 1 for parallel rows, 0 for orthogonal ones.

    Example:
        >>> float(cosine_penalty(torch.eye(2), torch.tensor([[0.0, 3.0], [0.0, -2.0]])))
        0.5
    """
    return nn.functional.cosine_similarity(target, copy, dim=1).square().mean()


def rbf_penalty(target: Tensor, copy: Tensor, width: float = 1.0) -> Tensor:
    """`exp(-||t - r||^2 / width^2)` of each row, in (0, 1]; the width > 0 is in units of the weights."""
    return (-(target - copy).square().sum(dim=1) / width**2).exp().mean()


def hinge_penalty(target: Tensor, copy: Tensor, margin: float = 1.0) -> Tensor:
    """`max(0, 1 - ||t - r|| / margin)^2` of each row, in [0, 1]; the margin > 0 is in units of the weights.

    A row that equals its copy has no gradient.
    """
    distance: Tensor = (target - copy).norm(dim=1)
    return (1 - distance / margin).clamp_min(0).square().mean()


PENALTIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_penalty,
    "rbf": rbf_penalty,
    "hinge": hinge_penalty,
}


def twin_loss(loss: nn.Module, target: Tensor, copy: Tensor, labels: Tensor, merge: Merge) -> Tensor:
    """Classification loss of two logits `[B, K]`, which carry gradient: mean of both losses, or loss of the mean."""
    if merge == "logits":
        target = copy = (target + copy) / 2
    value: Tensor = (loss(target, labels) + loss(copy, labels)) / 2
    return value


class TwinLinear(nn.Linear):
    """A classifier layer that carries a copy of itself; while training, a call is the layer alone.

    Args:
        layer: The layer to double; its weights become those of the target, the copy gets random ones.
        penalty: `cosine`, `rbf` or `hinge`.
        merge: How the branches are averaged while training: `losses` (each has its own softmax) or `logits`.

    Raises:
        ValueError: If the mean of the logits meets a penalty that depends on the difference of the branches alone.
    """

    linear_in_features = True  # in evaluation it may be the mean of two linear layers

    def __init__(self, layer: nn.Linear, penalty: Penalty, merge: Merge = "losses") -> None:
        check_choice("distinctive", penalty, Penalty)
        check_choice("distinctive_merge", merge, Merge)
        if merge == "logits" and penalty != "cosine":
            raise ValueError(
                f"distinctive_merge logits with the penalty {penalty!r} changes nothing: the mean of the logits "
                "depends on the sum of the two layers, the penalty on their difference alone, and under SGD the sum "
                "goes the same way without it. Take distinctive_merge losses, or distinctive cosine."
            )
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None)
        self.load_state_dict(layer.state_dict())
        self.copy = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
        self.to(layer.weight)
        self.distance, self.merge = PENALTIES[penalty], merge

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[B, K]`: in evaluation those of the function that was trained, with `logits` the mean of both."""
        logits: Tensor = super().forward(features)
        if not self.training and self.merge == "logits":
            logits = (logits + self.copy(features)) / 2
        return logits

    def penalty(self) -> Tensor:
        """`D(W_t, W_r)` of the weights without their biases, a scalar in [0, 1]."""
        return self.distance(self.weight.float(), self.copy.weight.float())


@torch.no_grad()
def merge_copy(twin: TwinLinear) -> None:
    """Put the mean of both branches in the place of each: the mean of their logits, by one layer."""
    for own, other in zip(twin.parameters(recurse=False), twin.copy.parameters(), strict=True):
        own.copy_((own + other) / 2)
        other.copy_(own)


class DistinctiveLoss:
    """The training loss of a classifier whose classifier layer is doubled.

    Args:
        network: The classifier; its last linear layer of K outputs is replaced by a `TwinLinear`, in place.
        num_classes: K.
        penalty: See `TwinLinear`.
        merge: See `TwinLinear`.
        weight: Factor of the penalty in the loss, >= 0.

    Raises:
        ValueError: If the model has no such layer, or see `TwinLinear`.
    """

    def __init__(self, network: nn.Module, num_classes: int, penalty: Penalty, merge: Merge, weight: float) -> None:
        modules = [(name, part) for name, part in network.named_modules() if name and isinstance(part, nn.Linear)]
        found = [(name, layer) for name, layer in modules if layer.out_features == num_classes]
        if not found:
            raise ValueError(
                f"distinctive doubles the classifier layer, and {type(network).__name__} has no torch.nn.Linear inside "
                f"it with {num_classes} outputs: end it in one, or set distinctive to none."
            )
        path, layer = found[-1]
        parent, _, name = path.rpartition(".")
        self.twin, self.weight = TwinLinear(layer, penalty, merge), weight
        setattr(network.get_submodule(parent), name, self.twin)
        self.capture = FeatureCapture(network, self.twin)

    def check(self, images: Tensor) -> None:
        """Raise ValueError if the doubled layer is not the last one of the model; `images` is a batch for it."""
        if find_last_linear(self.capture.model, images[:2]) is not self.twin:
            raise ValueError(
                f"distinctive doubled {self.twin}, which is not the last layer of this model: set it to none."
            )

    def of(self, model: nn.Module, loss: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The loss with the penalty, a scalar, and the logits `[B, K]`, of a model that calls the network."""
        with self.capture.recording() as seen:
            logits: Tensor = model(images)
        value = twin_loss(loss, logits, self.twin.copy(seen.features), targets, self.twin.merge)
        return value + self.weight * self.twin.penalty(), logits
