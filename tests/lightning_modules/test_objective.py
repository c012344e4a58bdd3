"""Each term by itself, and all of them inside a learner, held to arithmetic written out anew."""

import copy
import math
from typing import Any

import pytest
import torch
from learner_cases import BATCH, influence_by_double_backward, make, oracle_network
from torch import Tensor, nn

from lightning_modules.learner.objective import bounded, exceeding, feature_move, feature_spread, pixel_change
from lightning_modules.learner.policy_learner import PolicyLearner


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
    costs = exceeding(move, radius=1.0)
    assert costs.tolist() == [0, 0, 0, 0.125, 0.5, 7.5]
    costs.sum().backward()
    assert move.grad is not None
    assert move.grad.tolist() == [0, 0, 0, 0.5, 1, 1]  # never more


def test_change_of_pixels() -> None:
    original = torch.rand(3, 2, 4, 5)
    augmented = torch.rand(3, 2, 4, 5)
    expected = [float(((a - b) ** 2).mean()) for a, b in zip(augmented, original, strict=True)]
    assert pixel_change(original, augmented).tolist() == pytest.approx(expected)


# Inside a learner

TERMS: list[dict[str, Any]] = [{}, {"radius": 0.3}, {"radius": 0.2, "clip": 0.7}]


@pytest.mark.parametrize("terms", TERMS, ids=str)
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
    clip = terms.get("clip", 3.0)
    value = (clip * torch.tanh(influence / (clip * size))).mean() + written_out(model, images, augmented, terms)
    value.backward()
    torch.testing.assert_close(gradient(learner), oracle.policy.theta.grad, rtol=1e-6, atol=1e-12)
    rms = float((augmented - images).detach().square().mean().sqrt())
    assert update.pixel_change == pytest.approx(rms)
    assert math.isnan(update.feature_move) == ("radius" not in terms)


def written_out(model: Any, images: Tensor, augmented: Tensor, terms: dict[str, Any]) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    if "radius" in terms:
        before, after = (model.scale * model.body(pixels) for pixels in (images, augmented))
        before = before.detach()
        spread = sum(float((row - before.mean(0)).detach().norm() ** 2) for row in before) / len(before)
        moves = torch.stack([(a - b).norm() for a, b in zip(after, before, strict=True)]) / math.sqrt(spread)
        excess = nn.functional.relu(moves / terms["radius"] - 1)
        total = total + torch.where(excess < 1, excess.pow(2) / 2, excess - 0.5).mean()
    return total


def gradient(learner: PolicyLearner) -> Tensor:
    found: Tensor | None = learner.augnet.policy.theta.grad
    assert found is not None
    return found


def test_the_trust_region_shrinks_a_strength_that_influence_would_keep() -> None:
    free, held = (make(initial=0.4, lr=0.1, radius=radius) for radius in (None, 0.01))
    for learner in (free, held):
        for _ in range(30):
            update = learner.update(*BATCH)
    start = make(initial=0.4).update(*BATCH).pixel_change
    assert update.pixel_change < 0.7 * start
    assert update.pixel_change < free.update(*BATCH).pixel_change


def test_a_mixture_learned_from_its_choices_pays_too() -> None:
    learner = make(policy="mixture", lr=0.1, kl=0.0, radius=0.05)
    for _ in range(80):
        learner.update(*BATCH)
    identity = learner.augnet.describe()["identity"]["probability"]
    assert identity > 1.5 / len(learner.augnet.describe())
