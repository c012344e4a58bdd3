"""Predicted harm: against dense autograd, its sum over the classes, and its agreement with what is measured."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from analysis.class_effects.prediction import mean_influence, rank_agreement, solutions_of
from analysis.class_effects.reference import Rows, class_similarity
from influence import LastLayerHessian, loss_gradient, solve

CLASSES, FEATURES = 4, 5
DAMPING = 0.1


def rows(seed: int, count: int, head: Tensor, like: Rows | None = None) -> Rows:
    """Features around the center of their class; with `like`, the same images moved a little."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, FEATURES, generator=generator, dtype=torch.float64)
    if like is None:
        labels = torch.arange(count) % CLASSES
        features = noise + 2 * torch.eye(CLASSES, FEATURES, dtype=torch.float64)[labels]
    else:
        labels, features = like.labels, like.features + 0.3 * noise
    return Rows(features, logits_of(features, head), labels)


def logits_of(features: Tensor, head: Tensor) -> Tensor:
    return features @ head[:, :-1].T + head[:, -1]


@pytest.fixture
def case() -> tuple[Tensor, Rows, Rows, Rows]:
    generator = torch.Generator().manual_seed(9)
    head = torch.randn(CLASSES, FEATURES + 1, generator=generator, dtype=torch.float64)
    before = rows(0, 80, head)
    return head, before, rows(1, 80, head, before), rows(2, 30, head)


def test_it_is_what_dense_autograd_predicts(case: tuple[Tensor, Rows, Rows, Rows]) -> None:
    """Change of the loss of class k: -g_k^T (H + damping)^-1 (gradient on the new rows - gradient on the old)."""
    head, before, after, validation = case

    def loss(flat: Tensor, data: Rows) -> Tensor:
        return F.cross_entropy(logits_of(data.features, flat.view_as(head)), data.labels)

    flat = head.flatten()
    hessian = torch.autograd.functional.hessian(lambda weights: loss(weights, before), flat)
    hessian = hessian + DAMPING * hessian.trace() / len(flat) * torch.eye(len(flat), dtype=flat.dtype)
    gradient = torch.func.grad(loss)
    step = -torch.linalg.solve(hessian, gradient(flat, after) - gradient(flat, before))
    expected = []
    for k in range(CLASSES):
        own = validation.labels == k
        part = Rows(validation.features[own], validation.logits[own], validation.labels[own])
        expected.append(gradient(flat, part) @ step)
    found = mean_influence(solutions_of(before, validation, DAMPING), before, after)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-6, atol=1e-9)


def test_the_sum_weighted_by_class_frequency_is_the_influence_on_the_whole_loss(
    case: tuple[Tensor, Rows, Rows, Rows],
) -> None:
    _, before, after, validation = case
    uneven = torch.arange(len(validation.labels)) < 22  # classes of different sizes
    validation = Rows(*(part[uneven] for part in (validation.features, validation.logits, validation.labels)))
    hessian = LastLayerHessian(before.features, before.logits, damping=DAMPING)
    gradient = loss_gradient(validation.features, validation.logits, validation.labels)
    whole = mean_influence(solve(hessian, gradient, tol=1e-10).value[None], before, after)
    classes = mean_influence(solutions_of(before, validation, DAMPING), before, after)
    frequencies = (validation.labels.bincount() / len(validation.labels)).to(classes)
    assert len(set(frequencies.tolist())) > 1
    assert float(frequencies @ classes) == pytest.approx(float(whole[0]), rel=1e-6)


def test_nothing_changes_where_nothing_is_replaced(case: tuple[Tensor, Rows, Rows, Rows]) -> None:
    _, before, _, validation = case
    assert not mean_influence(solutions_of(before, validation, DAMPING), before, before).any()


def test_rank_agreement_is_spearmans_with_an_interval_around_it() -> None:
    generator = np.random.default_rng(0)
    predicted = generator.standard_normal(30)
    measured = predicted + generator.standard_normal(30)
    found = rank_agreement(predicted, measured)
    assert found.spearman == pytest.approx(float(spearmanr(predicted, measured).statistic))
    assert found.low is not None
    assert found.high is not None
    assert found.spearman is not None
    assert found.low < found.spearman < found.high
    assert 0.2 < found.high - found.low < 1.0


def test_the_interval_of_ten_unrelated_classes_covers_zero_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        predicted, measured = np.random.default_rng(seed).standard_normal((2, 10))
        found = rank_agreement(predicted, measured, draws=200)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    assert 0.85 < covered / 200 <= 0.99


def test_what_has_no_ranks_has_no_agreement() -> None:
    assert rank_agreement([1, 2, 3, 4], [4, 3, 2, 1]).spearman == pytest.approx(-1)
    for predicted, measured in (([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2, 3], [1, 2, 3])):
        assert rank_agreement(predicted, measured).spearman is None
    with pytest.raises(ValueError, match="one number a class"):
        rank_agreement([1, 2, 3, 4], [1, 2, 3])


def test_similar_classes_have_near_means() -> None:
    angles = torch.tensor([0.0, 0.2, math.pi])  # two neighbours and one opposite
    features = torch.stack([angles.cos(), angles.sin()], dim=1).repeat(3, 1) + 5
    similarity = class_similarity(Rows(features, torch.zeros(9, 3), torch.arange(9) % 3))
    assert similarity[0, 1] > 0.9
    assert similarity[0, 2] < -0.9
    np.testing.assert_allclose(similarity, similarity.T)
    np.testing.assert_allclose(np.diag(similarity), 1)
