"""Weights and labels of training images: the arithmetic, and what they find in noisy and unequal data."""

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from toys import CLASSES, ToyNet, blobs

from influence import Solution, upweight_influence
from influence.losses import CrossEntropy
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.sample_weights import SampleSettings, SampleWeights, class_ratios
from lightning_modules.learner.settings import LearnerSettings

EQUAL = torch.arange(96) % CLASSES


def make(labels: Tensor = EQUAL, seed: int = 0, **settings: Any) -> SampleWeights:
    torch.manual_seed(seed)
    model = ToyNet()
    chosen = SampleSettings(**{"warmup": 0, "refresh": 1, "lr": 0.1, **settings})
    capture, exact = FeatureCapture(model, model.head), LearnerSettings(tol=1e-5)
    return SampleWeights(chosen, labels, capture, blobs(60, 0, 1), exact, Ranks(), nullcontext, CrossEntropy())


def train(samples: SampleWeights, images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    """Train on the images as often as they are drawn, relabelled, as the module does."""
    model = samples.capture.model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step = 0
    for _ in range(epochs):
        drawn = torch.arange(len(labels))
        if samples.settings.weights:
            drawn = samples.weights().multinomial(len(labels), replacement=True)
            samples.counts.copy_(drawn.bincount(minlength=len(labels)))
        for places in torch.randperm(len(labels)).split(32):
            step += 1
            rows = drawn[places]
            targets = samples.labels(rows, labels[rows])
            optimizer.zero_grad()
            features, logits = samples.capture(images[rows])
            nn.functional.cross_entropy(logits, targets).backward()
            optimizer.step()
            samples.learn(step, rows, features.detach(), logits.detach(), targets)
    return model.eval()


def test_at_the_start_each_class_weighs_as_much_as_in_the_influence_set() -> None:
    labels = torch.arange(96).sqrt().long() % CLASSES
    samples = make(labels, weights=True)
    shown = samples.influence.influence_set[1].bincount(minlength=CLASSES) / 60
    of_class = torch.zeros(CLASSES).index_add(0, labels, samples.weights()) / 96
    trained = labels.bincount() / 96
    torch.testing.assert_close(of_class, (60 * shown + CLASSES * trained) / (60 + CLASSES))
    assert float((trained - shown).abs().max()) > 10 * float((of_class - shown).abs().max())
    assert all(len(samples.weights()[labels == label].unique()) == 1 for label in range(CLASSES))
    rows = torch.arange(12)
    assert torch.equal(samples.labels(rows, labels[rows]), labels[rows])


def test_labels_alone_leave_the_weights_equal() -> None:
    samples = make(torch.arange(96).sqrt().long() % CLASSES, soft_labels=True)
    assert torch.equal(samples.weights(), torch.ones(96))


def test_a_class_that_the_influence_set_lacks_keeps_a_weight() -> None:
    """Four images, as if three more had been drawn from the training images."""
    ratios = class_ratios(torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 1]), 3)
    torch.testing.assert_close(ratios, torch.tensor([4.0, 2.0, 1.0]) / 7 * 3)


def test_without_a_shift_of_the_classes_all_weights_are_one() -> None:
    labels = torch.tensor([0] * 40 + [1] * 8 + [3] * 2)  # nothing of class 2
    torch.testing.assert_close(class_ratios(labels, labels[::2], 4), torch.ones(4))


def test_soft_labels_start_as_smoothed_labels() -> None:
    labels = torch.arange(12) % CLASSES
    found = make(soft_labels=True, smoothing=0.06).labels(torch.arange(12), labels)
    expected = 0.94 * nn.functional.one_hot(labels, CLASSES).float() + 0.02
    torch.testing.assert_close(found, expected)


def test_a_step_of_the_weights_by_hand() -> None:
    samples = make(weights=True, lr=0.2, clip=2.0)
    start = samples.log_weights.clone()
    images, labels = blobs(12, 0, 5)
    rows = torch.arange(80, 92)
    with torch.no_grad():
        features, logits = samples.capture(images)
    samples.learn(1, rows, features, logits, labels)
    S = samples.influence.solution.value
    extended = nn.functional.pad(features, (0, 1), value=1.0)
    influence = -((logits.softmax(1) - nn.functional.one_hot(labels, CLASSES)) * (extended @ S.T)).sum(1)
    expected = -0.2 * 2 * torch.tanh(influence / (2 * influence.square().mean().sqrt()))
    torch.testing.assert_close((samples.log_weights - start)[rows], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(samples.log_weights[:80], start[:80])
    assert float(samples.weights().mean()) == pytest.approx(1)


def test_an_image_that_is_there_twice_takes_two_half_steps() -> None:
    """In one batch, where a plain assignment would lose one of them."""
    images, labels = blobs(12, 0, 5)
    once, twice = make(weights=True, soft_labels=True), make(weights=True, soft_labels=True)
    with torch.no_grad():
        twice.capture(images)  # batch statistics
        features, logits = once.capture(images)
    double = torch.arange(12).repeat(2)
    twice.counts.fill_(2)
    once.learn(1, double[:12], features, logits, labels)
    twice.learn(1, double, features[double], logits[double], labels[double])
    torch.testing.assert_close(twice.log_weights, once.log_weights, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(twice.label_shifts, once.label_shifts, rtol=1e-3, atol=1e-4)


def test_a_label_moves_against_the_gradient_of_the_influence_in_it() -> None:
    samples = make(soft_labels=True, label_lr=1.0, clip=1e6)
    images, labels = blobs(12, 0, 5)
    rows = torch.arange(12)
    targets = samples.labels(rows, labels).requires_grad_()
    with torch.no_grad():
        features, logits = samples.capture(images)
    samples.learn(1, rows, features, logits, targets.detach())
    influence = upweight_influence(samples.influence.solution, features, logits, targets)
    (gradient,) = torch.autograd.grad(influence.sum(), targets)
    gradient = gradient - gradient.mean(dim=1, keepdim=True)  # `influence` measures it from the largest class
    found = samples.label_shifts[rows]
    torch.testing.assert_close(found, -gradient / gradient.square().mean().sqrt(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrong_labels_lose_their_weight(seed: int) -> None:
    images, truth = blobs(96, 0, 10 + seed)
    wrong = torch.rand(96, generator=torch.Generator().manual_seed(seed)) < 0.25
    labels = torch.where(wrong, (truth + 1) % CLASSES, truth)
    samples = make(labels, seed=seed, weights=True, warmup=6)
    train(samples, images, labels, 25)
    assert roc_auc_score(wrong.numpy(), -samples.weights().numpy()) > 0.9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrong_labels_are_mended(seed: int) -> None:
    images, truth = blobs(96, 0, 10 + seed)
    wrong = torch.rand(96, generator=torch.Generator().manual_seed(seed)) < 0.25
    labels = torch.where(wrong, (truth + 1) % CLASSES, truth)
    samples = make(labels, seed=seed, soft_labels=True, warmup=6, label_lr=0.3)
    train(samples, images, labels, 25)
    mended = samples.labels(torch.arange(96), labels).argmax(dim=1) == truth
    assert float(mended[wrong].float().mean()) > 0.7
    assert float(mended[~wrong].float().mean()) > 0.95


def test_values_that_are_not_finite_change_nothing() -> None:
    samples = make(weights=True, soft_labels=True)
    start = samples.log_weights.clone()
    features, logits = torch.full((4, 24), torch.nan), torch.zeros(4, CLASSES)
    samples.learn(1, torch.arange(4), features, logits, torch.zeros(4, dtype=torch.int64))
    assert torch.equal(samples.log_weights, start)
    assert len(samples.influence.bank) == 0


def test_before_the_warm_up_is_over_nothing_is_learned() -> None:
    samples = make(weights=True, warmup=3)
    start = samples.log_weights.clone()
    images, labels = blobs(8, 0, 5)
    with torch.no_grad():
        features, logits = samples.capture(images)
    for step in range(1, 5):
        samples.learn(step, torch.arange(8), features, logits, labels)
        assert torch.equal(samples.log_weights, start) == (step <= 3)


def test_a_restored_table_goes_on_as_the_first() -> None:
    images, labels = blobs(96, 0, 4)
    first = make(weights=True, soft_labels=True)
    train(first, images, labels, 2)
    second = make(weights=True, soft_labels=True)
    second.capture.model.load_state_dict(first.capture.model.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for samples in (first, second):
        torch.manual_seed(9)
        train(samples, images, labels, 1)
    assert torch.equal(first.log_weights, second.log_weights)
    assert torch.equal(first.label_shifts, second.label_shifts)


def test_a_table_of_other_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"log_weights of shape \(96,\), the data give \(48,\)"):
        make(EQUAL[:48], weights=True).load_state_dict(make(weights=True).state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, r"samples\.lr must lie in .*found 0.0"),
        ({"label_lr": 0.0}, r"samples\.label_lr must lie in .*found 0.0"),
        ({"clip": -1.0}, r"samples\.clip must lie in .*found -1.0"),
        ({"warmup": -1}, r"samples\.warmup must lie in"),
        ({"refresh": 0}, r"samples\.refresh must lie in"),
        ({"smoothing": 0.0}, r"samples.smoothing must lie in \(0, 1\), found 0.0"),
    ],
)
def test_settings_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleSettings(**arguments)


def test_solutions_are_those_of_the_influence_package() -> None:
    samples = make(weights=True)
    images, labels = blobs(8, 0, 5)
    with torch.no_grad():
        features, logits = samples.capture(images)
    samples.learn(1, torch.arange(8), features, logits, labels)
    assert isinstance(samples.influence.solution, Solution)
    assert samples.influence.solution.relative_residual <= 1e-2
