"""Each term by itself, and all of them inside a learner, held to arithmetic written out anew."""

import copy
import math
from typing import Any

import pytest
import torch
from learner_cases import BATCH, influence_by_double_backward, make, oracle_network
from torch import Tensor, nn

from lightning_modules.learner.costs import (
    beyond,
    bounded,
    feature_move,
    feature_spread,
    label_costs,
    pixel_change,
    strength_costs,
)
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.settings import LearnerSettings


def test_bounded_influence_is_itself_near_zero_and_never_beyond_the_bound() -> None:
    influence = torch.tensor([-100.0, -1e-3, 0.0, 1e-3, 100.0], dtype=torch.float64)
    found = bounded(influence, torch.tensor(2.0, dtype=torch.float64), clip=3.0)
    torch.testing.assert_close(found[1:4], influence[1:4] / 2)
    assert found[[0, 4]].tolist() == pytest.approx([-3, 3], rel=1e-6)
    assert bool((found.abs() <= 3).all())


def test_spread_and_move_by_hand() -> None:
    features = torch.tensor([[0.0, 0.0], [6.0, 8.0]])  # both 5 away from the mean
    assert float(feature_spread(features)) == 5
    moved = features + torch.tensor([[3.0, 4.0], [0.0, 10.0]])
    assert feature_move(features, moved, feature_spread(features)).tolist() == pytest.approx([1, 2])


def test_the_spread_is_that_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    features = torch.randn(50, 7, dtype=torch.float64)
    variances = PCA().fit(features.numpy()).explained_variance_  # with N - 1
    assert float(feature_spread(features)) == pytest.approx(math.sqrt(variances.sum() * 49 / 50))


def test_features_that_are_all_alike_have_a_spread_to_divide_by() -> None:
    features = torch.ones(4, 3)
    assert 0 < float(feature_spread(features)) < 1e-3
    assert feature_move(features, features, feature_spread(features)).tolist() == pytest.approx([0] * 4, abs=1e-6)


def test_an_image_that_has_not_moved_sends_no_gradient_and_no_nan() -> None:
    features = torch.randn(3, 4, dtype=torch.float64)
    moved = features.clone().requires_grad_()
    feature_move(features, moved, feature_spread(features)).sum().backward()
    assert moved.grad is not None
    assert torch.equal(moved.grad, torch.zeros_like(features))


def test_moves_within_the_radius_are_free() -> None:
    move = torch.tensor([0.0, 0.5, 0.999, 1.5, 2.0, 9.0], requires_grad=True)
    costs = beyond(move, radius=1.0)
    assert costs.tolist() == [0, 0, 0, 0.125, 0.5, 7.5]
    costs.sum().backward()
    assert move.grad is not None
    assert move.grad.tolist() == [0, 0, 0, 0.5, 1, 1]  # never more


def test_change_of_pixels() -> None:
    original = torch.rand(3, 2, 4, 5)
    augmented = torch.rand(3, 2, 4, 5)
    expected = [float(((a - b) ** 2).mean()) for a, b in zip(augmented, original, strict=True)]
    assert pixel_change(original, augmented).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("rms", "excess"), [(0.1, 0.0), (0.2, 0.0), (0.4, 1.0)])
def test_strength_within_the_budget_is_free(rms: float, excess: float) -> None:
    change = torch.tensor([0.5, 1.5]) * rms**2
    found = strength_costs(change, change.mean(), LearnerSettings(budget=0.2))
    torch.testing.assert_close(found, excess * change / 0.04)


def test_the_slope_of_the_budget_is_that_of_the_squared_excess() -> None:
    """Up to a factor: `d/dx [budget excess^2] = excess / (budget rms) d(mean change)/dx`... by autograd."""
    change = torch.tensor([0.1, 0.3], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((change.mean().sqrt() / 0.2 - 1).square(), change)
    costs = strength_costs(change, change.mean().detach(), LearnerSettings(budget=0.2)).mean()
    (found,) = torch.autograd.grad(costs, change)
    ratio = found / slope
    torch.testing.assert_close(ratio[0], ratio[1])
    assert float(ratio[0]) > 0


def test_label_costs_are_cross_entropy() -> None:
    logits, labels = torch.randn(5, 3), torch.arange(5) % 3
    expected = -0.4 * logits.log_softmax(dim=1)[torch.arange(5), labels]
    torch.testing.assert_close(label_costs(logits, labels, 0.4), expected)


# Inside a learner

TERMS: list[dict[str, Any]] = [
    {"radius": 0.3},
    {"identity": 5.0},
    {"label": 0.7},
    {"budget": 0.05},
    {"radius": 0.2, "identity": 2.0, "label": 0.1, "budget": 0.05},
]


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: "+".join(terms))
def test_the_gradient_of_all_terms_is_that_of_arithmetic_written_out(terms: dict[str, Any]) -> None:
    learner = make(double=True, ema=0.0, **terms)
    images, labels = BATCH[0].double(), BATCH[1]
    learner.update(images, labels)
    oracle = copy.deepcopy(learner.augnet).train().requires_grad_(True)
    generator = torch.Generator()
    generator.set_state(learner.generator.get_state())

    update = learner.update(images, labels)

    model = oracle_network(learner)
    augmented = oracle(images, labels, draws=oracle.draw(images, generator))[0]
    influence = influence_by_double_backward(model, augmented, labels, update.solution.value)
    size = influence.detach().square().mean().sqrt()
    objective = (3 * torch.tanh(influence / (3 * size))).mean() + written_out(model, images, augmented, labels, terms)
    objective.backward()
    torch.testing.assert_close(gradient(learner), oracle.policy.theta.grad, rtol=1e-6, atol=1e-12)
    rms = float((augmented - images).square().mean().sqrt())
    assert update.pixel_change == pytest.approx(rms)
    assert math.isnan(update.feature_move) == ("radius" not in terms)


def written_out(model: Any, images: Tensor, augmented: Tensor, labels: Tensor, terms: dict[str, Any]) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    square = (augmented - images).square()
    if "radius" in terms:
        before, after = (model.scale * model.body(pixels) for pixels in (images, augmented))
        before = before.detach()
        spread = sum(float((row - before.mean(0)).norm() ** 2) for row in before) / len(before)
        moves = torch.stack([(a - b).norm() for a, b in zip(after, before, strict=True)]) / math.sqrt(spread)
        excess = nn.functional.relu(moves / terms["radius"] - 1)
        total = total + torch.where(excess < 1, excess.pow(2) / 2, excess - 0.5).mean()
    total = total + float(terms.get("identity", 0)) * square.mean()
    total = total + float(terms.get("label", 0)) * nn.functional.cross_entropy(model(augmented), labels)
    if "budget" in terms:
        over = max(0.0, float(square.mean()) ** 0.5 / terms["budget"] - 1)
        assert over > 0, "a budget that is kept tests nothing"
        total = total + over / float(terms["budget"]) ** 2 * square.mean()
    return total


def gradient(learner: PolicyLearner) -> Tensor:
    found: Tensor | None = learner.augnet.policy.theta.grad
    assert found is not None
    return found


@pytest.mark.parametrize("terms", [{"identity": 1e4}, {"budget": 0.01}, {"radius": 0.01}])
def test_each_term_shrinks_a_strength_that_influence_would_keep(terms: dict[str, Any]) -> None:
    free, held = (make(initial=0.4, lr=0.1, **settings) for settings in ({}, terms))
    for learner in (free, held):
        for _ in range(30):
            update = learner.update(*BATCH)
    start = make(initial=0.4).update(*BATCH).pixel_change
    assert update.pixel_change < 0.7 * start
    assert update.pixel_change < free.update(*BATCH).pixel_change


@pytest.mark.parametrize("terms", [{"identity": 1e3}, {"budget": 0.02}, {"radius": 0.05}])
def test_a_mixture_learned_from_its_choices_pays_too(terms: dict[str, Any]) -> None:
    learner = make(policy="mixture", lr=0.1, kl=0.0, **terms)
    for _ in range(80):
        learner.update(*BATCH)
    identity = learner.augnet.describe()["identity"]["probability"]
    assert identity > 1.5 / len(learner.augnet.describe())
