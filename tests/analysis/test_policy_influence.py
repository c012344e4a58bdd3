"""Expected influence of a policy from its moments: against all its views, and the solve behind it."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian as autograd_hessian
from torch.autograd.functional import jacobian

from analysis.moments import policy_influence
from analysis.moments.augmentations import Budget, Example, ranges
from analysis.moments.factored import Moments, moments_of
from analysis.moments.policy_influence import (
    capture_of,
    expected_influence,
    influence_function,
    solve_for_influence_set,
)
from analysis.moments.weighted_views import distribution, outputs_of
from analysis.run_folder import OpenedRun
from analysis.sampling import draw_rows
from influence import LastLayerHessian, loss_gradient
from lightning_modules.learner.feature_capture import FeatureCapture

TARGET = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


def smooth_influence() -> tuple[FeatureCapture, Tensor]:
    """A smooth network in float64 and some matrix in the place of the solution."""
    torch.manual_seed(0)
    layers = (
        nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.Tanh(), nn.Linear(10, 3))
        .double()
        .eval()
        .requires_grad_(False)
    )
    head = layers[3]
    assert isinstance(head, nn.Linear)
    return FeatureCapture(layers, head), torch.randn(3, 11, dtype=torch.float64)


def examples_of(run: OpenedRun, count: int) -> list[Example]:
    images, labels = run.data.splits.train.__getitems__(range(count + 1))
    targets = nn.functional.one_hot(labels, 10).float()
    return [Example(images[k : k + 2], labels[k : k + 2], targets[k : k + 2]) for k in range(count)]


def test_second_order_is_the_taylor_series_of_autograd() -> None:
    capture, matrix = smooth_influence()
    function = influence_function(capture, matrix, TARGET)
    mean = torch.rand(3, 4, 4, dtype=torch.float64)
    moments = Moments(mean, 0.1 * torch.randn(4, 3, 4, 4, dtype=torch.float64))
    flat = moments.factor.flatten(1)
    gradient = jacobian(lambda image: function(image.view(1, 3, 4, 4))[0], mean.flatten())
    hessian = autograd_hessian(lambda image: function(image.view(1, 3, 4, 4))[0], mean.flatten())
    found = expected_influence(function, moments)
    trace = float(torch.einsum("ki,ij,kj->", flat, hessian, flat)) / 2
    assert found.at_mean == pytest.approx(float(function(mean[None])), rel=1e-12)
    assert found.expected == pytest.approx(found.at_mean + trace, rel=1e-10)
    assert found.variance == pytest.approx(float((flat @ gradient).square().sum()), rel=1e-10)


@pytest.mark.parametrize("ops", [{"contrast": 1.0}, {"brightness": 0.3, "saturation": 1.0}, {"rotation": 40.0}])
def test_at_small_strengths_it_is_what_sampling_finds(ops: dict[str, float]) -> None:
    capture, matrix = smooth_influence()
    function = influence_function(capture, matrix, TARGET)
    image = 0.3 + 0.4 * torch.rand(2, 3, 4, 4, dtype=torch.float64)
    example = Example(image, torch.tensor([1, 0]), torch.stack([TARGET, TARGET.roll(1)]))
    unexplained = {}
    for strength in (0.4, 0.1):
        views = ranges(ops, strength)(example, Budget(900))
        truth = distribution(outputs_of(function, views), views.weights)
        found = expected_influence(function, views.moments.compressed(16))
        clean = float(function(image[:1]))
        unexplained[strength] = abs(found.expected - truth.mean) / abs(truth.mean - clean)
        assert found.variance == pytest.approx(truth.variance, rel=2 * strength)
    assert unexplained[0.1] < 0.03
    assert unexplained[0.1] < unexplained[0.4]


def test_the_solution_is_that_of_the_dense_system(opened: OpenedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_influence, "_HESSIAN_ROWS", 300)
    capture = capture_of(opened.model, opened.data)
    solution = solve_for_influence_set(capture, opened.data, damping=0.1)
    with torch.no_grad():
        train = opened.data.splits.train
        rows = capture(train.__getitems__(draw_rows(len(train), 300, seed=0))[0])
        images, labels = opened.data.influence_set()
        held_out = capture(images)
    hessian = LastLayerHessian(*rows, damping=0.1).dense()
    gradient = loss_gradient(*held_out, labels)
    expected = torch.linalg.solve(hessian.double(), gradient.flatten().double()).view_as(gradient)
    assert float((solution.value.double() - expected).norm() / expected.norm()) < 1e-3  # features are float32


def test_influence_of_an_image_predicts_what_refitting_towards_it_does(opened: OpenedRun) -> None:
    """It is minus the derivative of the image's loss when the head moves along S."""
    capture = capture_of(opened.model, opened.data)
    solution = solve_for_influence_set(capture, opened.data, damping=0.1)
    example = examples_of(opened, 1)[0]
    value = influence_function(capture, solution, example.targets[0])(example.images[:1])
    with torch.no_grad():
        features, logits = capture(example.images[:1])
        rows = torch.cat([features, torch.ones(1, 1)], dim=1).double()
        losses = [
            nn.functional.cross_entropy(logits.double() + step * rows @ solution.value.double().T, example.labels[:1])
            for step in (1e-4, -1e-4)
        ]
    assert float(value) == pytest.approx(float(losses[1] - losses[0]) / 2e-4, rel=1e-3, abs=1e-6)


def test_nothing_random_has_the_influence_of_the_image() -> None:
    capture, matrix = smooth_influence()
    function = influence_function(capture, matrix, TARGET)
    image = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    found = expected_influence(function, moments_of(image))
    assert found.at_mean == found.expected == pytest.approx(float(function(image)))
    assert found.variance == 0
