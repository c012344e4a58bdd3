from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toys import CLASSES, ToyData, ToyNet, blobs, toy_trainer

from lightning_modules.classifier.classifier import Classifier
from lightning_modules.classifier.distinctive import (
    PENALTIES,
    Merge,
    TwinLinear,
    cosine_penalty,
    hinge_penalty,
    merge_copy,
    rbf_penalty,
    twin_loss,
)
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

PenaltyFunction = Callable[[Tensor, Tensor], Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classifier(**arguments: Any) -> Classifier:
    torch.manual_seed(0)
    settings = {"model": "toys.ToyNet", "num_classes": CLASSES, "in_channels": 1}
    return Classifier(**{**settings, **arguments})


# Penalties


@pytest.mark.parametrize("name", PENALTIES)
def test_penalty_has_its_gradient_and_its_bounds(name: str) -> None:
    target, copy = 0.3 * normal(3, 5).requires_grad_(), 0.3 * normal(3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(PENALTIES[name], (target, copy))
    for distance in (0.0, 0.1, 1.0, 1e4):
        value = PENALTIES[name](target, target + distance * copy).item()
        assert 0 <= value <= 1 + 1e-12
    assert PENALTIES[name](target, target).item() == pytest.approx(1)


def test_cosine_of_orthogonal_rows_is_zero_and_lengths_do_not_count() -> None:
    target, copy = torch.eye(4), torch.roll(torch.eye(4), 1, 0)
    assert float(cosine_penalty(target, copy)) == 0
    assert float(cosine_penalty(normal(3, 5), -7 * normal(3, 5))) == pytest.approx(1)


def test_units_of_the_distances() -> None:
    target, copy = torch.zeros(1, 4), torch.tensor([[0.0, 3.0, 4.0, 0.0]])
    assert float(rbf_penalty(target, copy, width=5.0)) == pytest.approx(torch.tensor(-1.0).exp().item())
    assert float(hinge_penalty(target, copy, margin=10.0)) == pytest.approx(0.25)
    assert float(hinge_penalty(target, copy, margin=5.0)) == 0


# The trap


def trained_sum(penalty: PenaltyFunction, weight: float, merge: Merge) -> tuple[Tensor, Tensor]:
    """Sum and difference of two classifier layers after 30 steps of SGD with momentum and weight decay."""
    features, labels = normal(40, 6, seed=2), torch.arange(40) % 3
    target, copy = (normal(3, 6, seed=seed).requires_grad_() for seed in (3, 4))
    optimizer = torch.optim.SGD([target, copy], lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        loss = twin_loss(nn.CrossEntropyLoss(), features @ target.T, features @ copy.T, labels, merge)
        (loss + weight * penalty(target, copy)).backward()
        optimizer.step()
    return (target + copy).detach(), (target - copy).detach()


def repulsion(target: Tensor, copy: Tensor) -> Tensor:
    """The unbounded penalty."""
    return -(target - copy).square().sum()


def wide(target: Tensor, copy: Tensor) -> Tensor:
    return rbf_penalty(target, copy, width=3.0)


@pytest.mark.parametrize(("penalty", "beta"), [(repulsion, 0.02), (wide, 0.5)])
def test_a_penalty_of_the_difference_moves_nothing_that_a_linear_merge_computes(
    penalty: PenaltyFunction, beta: float
) -> None:
    without, with_penalty = (trained_sum(penalty, weight, "logits") for weight in (0.0, beta))
    torch.testing.assert_close(with_penalty[0], without[0], rtol=0, atol=1e-12)
    assert with_penalty[1].norm() > 1.1 * without[1].norm()


@pytest.mark.parametrize(("penalty", "merge"), [(wide, "losses"), (cosine_penalty, "logits")])
def test_own_softmax_or_cosine_let_the_penalty_act(penalty: PenaltyFunction, merge: Merge) -> None:
    without, with_penalty = (trained_sum(penalty, weight, merge) for weight in (0.0, 0.5))
    assert (with_penalty[0] - without[0]).norm() > 1e-2


@pytest.mark.parametrize("penalty", ["rbf", "hinge"])
def test_the_trap_is_refused(penalty: str) -> None:
    with pytest.raises(ValueError, match=f"distinctive_merge logits with the penalty '{penalty}' changes nothing"):
        classifier(distinctive=penalty, distinctive_merge="logits")


# The layer in a network


def test_two_losses_or_the_loss_of_the_mean() -> None:
    target, copy, labels = normal(5, 3), normal(5, 3, seed=1), torch.tensor([0, 1, 2, 0, 1])
    own, other = (-logits.log_softmax(dim=1)[torch.arange(5), labels].mean() for logits in (target, copy))
    torch.testing.assert_close(twin_loss(nn.CrossEntropyLoss(), target, copy, labels, "losses"), (own + other) / 2)
    together = -((target + copy) / 2).log_softmax(dim=1)[torch.arange(5), labels].mean()
    torch.testing.assert_close(twin_loss(nn.CrossEntropyLoss(), target, copy, labels, "logits"), together)


def test_the_copy_can_be_dropped_or_merged() -> None:
    twin = TwinLinear(nn.Linear(6, 3).double(), "cosine")
    features = normal(5, 6)
    own, other = features @ twin.weight.T + twin.bias, twin.copy(features)
    torch.testing.assert_close(twin(features), own)
    merge_copy(twin)
    torch.testing.assert_close(twin(features), (own + other) / 2)


def twin_of(model: Classifier) -> TwinLinear:
    assert model.distinctive is not None
    return model.distinctive.twin


def test_features_are_caught_at_the_twin() -> None:
    model = classifier(distinctive="cosine").eval()
    head = find_last_linear(model.network, torch.rand(2, 1, 12, 12))
    assert head is twin_of(model)
    features, logits = FeatureCapture(model.network, head)(torch.rand(4, 1, 12, 12))
    torch.testing.assert_close(logits, features @ head.weight.T + head.bias)


def test_off_by_default_and_the_target_keeps_its_weights() -> None:
    plain, twin = classifier(), classifier(distinctive="cosine")
    assert plain.distinctive is None
    state = plain.network.state_dict()
    doubled = twin.network.state_dict()
    assert set(doubled) - set(state) == {"1.head.copy.weight", "1.head.copy.bias"}
    assert all(torch.equal(value, doubled[name]) for name, value in state.items())


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_loss_is_cross_entropy_plus_the_weighted_penalty(beta: float) -> None:
    model = classifier(distinctive="cosine", distinctive_weight=beta)
    model.network.eval()  # without dropout
    model.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    images, labels = blobs(8, 1, 0)
    twin = twin_of(model)
    features, _ = FeatureCapture(model.network, twin)(images)
    losses = [F.cross_entropy(layer(features), labels) for layer in (twin, twin.copy)]
    expected = torch.stack(losses).mean() + beta * cosine_penalty(twin.weight, twin.copy.weight)
    torch.testing.assert_close(model.training_step((images, labels), 0), expected)


def test_the_penalty_keeps_the_layers_apart_in_training() -> None:
    cosines = {}
    for beta in (0.0, 1.0):
        model = classifier(distinctive="cosine", distinctive_weight=beta)
        toy_trainer(max_epochs=10, limit_val_batches=0).fit(model, datamodule=ToyData())
        cosines[beta] = float(twin_of(model).penalty().detach())
    assert cosines[1.0] < 0.5 * cosines[0.0]


class Misordered(ToyNet):
    """A network whose last registered layer of K outputs is not its head."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__(num_classes, in_channels)
        self.auxiliary = nn.Linear(24, num_classes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distinctive": "angle"}, "distinctive must be one of none, cosine, rbf, hinge, found 'angle'"),
        ({"distinctive": "cosine", "distinctive_merge": "sum"}, "distinctive_merge must be one of losses"),
        ({"distinctive": "cosine", "distinctive_weight": -1.0}, r"distinctive_weight must lie in .*found -1.0"),
        ({"distinctive": "cosine", "model": "toys.ConvolutionNet"}, "no torch.nn.Linear inside it with 3 outputs"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**arguments)


def test_a_layer_that_is_not_the_last_is_found_out_before_training() -> None:
    model = classifier(distinctive="cosine", model="test_distinctive.Misordered")
    with pytest.raises(ValueError, match="which is not the last layer of this model"):
        toy_trainer(num_sanity_val_steps=0).fit(model, datamodule=ToyData())
