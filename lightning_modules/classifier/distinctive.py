r"""Distinctive regularisation: two classifier layers that are kept from becoming the same, for large batches.

The last layer has a target `W_t` and a copy `W_r` of the same shape with weights of its own, and the training loss is
`CE + beta D(W_t, W_r)`. The idea is that of Yuan, Hua, Zhou and Yu, *Contrastive Weight Regularization for Large
Minibatch SGD* (2020). Their formula, the layer they double and how its copy enters the forward pass are not known to
this project; all three are its own choice here:

* the layer is the classifier layer, which every model of this project has;
* while training, each branch has its own softmax and cross-entropy, and the mean of the two losses is minimised. The
  network itself answers by the target alone: the copy is dropped at no cost, as the target has learned to answer by
  itself. `merge_copy` puts the mean of both in its place;
* the penalties are bounded. `-||W_t - W_r||^2` is not: with a weight decay `lambda` on both, the difference of the two
  grows without end as soon as `beta > lambda / 4`.

A trap: with the mean of the logits, `(W_t + W_r) h / 2`, the loss depends on the sum of the two alone. A penalty of
their difference alone then moves nothing that the network computes: under SGD, also with momentum and weight decay,
the sum goes the same way with the penalty and without it. This combination is refused.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

Penalty = Literal["none", "cosine", "rbf", "hinge"]
Merge = Literal["losses", "logits"]
_OF_THE_DIFFERENCE = ("rbf", "hinge")


def cosine_penalty(target: Tensor, copy: Tensor) -> Tensor:
    """Squared cosine of each row with its copy, mean over rows: 1 for parallel rows, 0 for orthogonal ones.

    Args:
        target: `[K, D]`; carries gradient.
        copy: `[K, D]`; carries gradient.

    Returns:
        A scalar in [0, 1].

    Example:
        >>> float(cosine_penalty(torch.eye(2), torch.tensor([[0.0, 3.0], [0.0, -2.0]])))
        0.5
    """
    return nn.functional.cosine_similarity(target, copy, dim=1).square().mean()


def rbf_penalty(target: Tensor, copy: Tensor, width: float = 1.0) -> Tensor:
    """`exp(-||t - r||^2 / width^2)` of each row, mean over rows: 1 for equal rows, 0 for distant ones.

    Args:
        target: `[K, D]`; carries gradient.
        copy: `[K, D]`; carries gradient.
        width: Distance at which the penalty has fallen to 1/e, in units of the weights, > 0.

    Returns:
        A scalar in (0, 1].
    """
    return (-(target - copy).square().sum(dim=1) / width**2).exp().mean()


def hinge_penalty(target: Tensor, copy: Tensor, margin: float = 1.0) -> Tensor:
    """`max(0, 1 - ||t - r|| / margin)^2` of each row, mean over rows: 1 for equal rows, 0 from the margin on.

    Args:
        target: `[K, D]`; carries gradient; none where a row equals its copy.
        copy: `[K, D]`; carries gradient.
        margin: Distance from which rows cost nothing, in units of the weights, > 0.

    Returns:
        A scalar in [0, 1].
    """
    distance: Tensor = (target - copy).norm(dim=1)
    return (1 - distance / margin).clamp_min(0).square().mean()


PENALTIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_penalty,
    "rbf": rbf_penalty,
    "hinge": hinge_penalty,
}


def twin_loss(loss: nn.Module, target: Tensor, copy: Tensor, labels: Tensor, merge: Merge) -> Tensor:
    """Classification loss of two classifier layers.

    Args:
        loss: Cross-entropy of logits and labels.
        target: Logits `[B, K]`; carries gradient.
        copy: Logits `[B, K]`; carries gradient.
        labels: `[B]` int64.
        merge: `losses` gives the mean of both losses, `logits` the loss of their mean.

    Returns:
        A scalar.
    """
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
        ValueError: If the merge is linear and the penalty depends on the difference of the branches alone.
    """

    linear_in_features = True  # in evaluation it may be the mean of two linear layers

    def __init__(self, layer: nn.Linear, penalty: Penalty, merge: Merge = "losses") -> None:
        if penalty not in PENALTIES:
            raise ValueError(f"distinctive must be one of {', '.join(get_args(Penalty))}, found {penalty!r}.")
        if merge not in get_args(Merge):
            raise ValueError(f"distinctive_merge must be one of {', '.join(get_args(Merge))}, found {merge!r}.")
        if merge == "logits" and penalty in _OF_THE_DIFFERENCE:
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


def add_twin(model: nn.Module, num_classes: int, penalty: Penalty, merge: Merge = "losses") -> TwinLinear:
    """Replace the classifier layer of a model by a twin of it.

    Args:
        model: Any classifier; changed in place.
        num_classes: Number of classes, K.
        penalty: See `TwinLinear`.
        merge: See `TwinLinear`.

    Returns:
        The twin.

    Raises:
        ValueError: If the model has no linear layer of K outputs, or see `TwinLinear`.
    """
    found = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name and module.out_features == num_classes
    ]
    if not found:
        raise ValueError(
            f"distinctive doubles the classifier layer, and {type(model).__name__} has no torch.nn.Linear inside it "
            f"with {num_classes} outputs: end it in one, or set distinctive to none."
        )
    parent, _, name = found[-1].rpartition(".")
    layer = model.get_submodule(found[-1])
    twin = TwinLinear(layer, penalty, merge)  # type: ignore[arg-type]
    setattr(model.get_submodule(parent), name, twin)
    return twin


@torch.no_grad()
def merge_copy(twin: TwinLinear) -> None:
    """Put the mean of both branches in the place of each: the mean of their logits, by one layer.

    Args:
        twin: Changed in place.
    """
    for own, other in zip(twin.parameters(recurse=False), twin.copy.parameters(), strict=True):
        own.copy_((own + other) / 2)
        other.copy_(own)


class DistinctiveLoss:
    """The training loss of a classifier whose classifier layer is doubled.

    Args:
        network: The classifier; its classifier layer is replaced by a twin, in place.
        num_classes: K.
        penalty: See `TwinLinear`.
        merge: See `TwinLinear`.
        weight: Factor of the penalty in the loss, >= 0.

    Raises:
        ValueError: If the weight is negative, or see `add_twin`.
    """

    def __init__(self, network: nn.Module, num_classes: int, penalty: Penalty, merge: Merge, weight: float) -> None:
        if not weight >= 0:
            raise ValueError(f"distinctive_weight must be at least 0, found {weight}.")
        twin = add_twin(network, num_classes, penalty, merge)
        self.capture, self.twin, self.weight = FeatureCapture(network, twin), twin, weight

    def check(self, images: Tensor) -> None:
        """Raise ValueError if the doubled layer is not the last one of the model; `images` is a batch for it."""
        if find_last_linear(self.capture.model, images[:2]) is not self.twin:
            raise ValueError(
                f"distinctive doubled {self.twin}, which is not the last layer of this model: set it to none."
            )

    def of(self, model: nn.Module, loss: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The loss with the penalty, a scalar, and the logits `[B, K]`.

        Args:
            model: Calls the network.
            loss: Cross-entropy of logits and targets.
            images: `[B, C, H, W]`.
            targets: `[B]` or `[B, K]`.
        """
        with self.capture.recording() as seen:
            logits: Tensor = model(images)
        value = twin_loss(loss, logits, self.twin.copy(seen.features), targets, self.twin.merge)
        return value + self.weight * self.twin.penalty(), logits
