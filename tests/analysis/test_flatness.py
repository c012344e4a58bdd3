import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from analysis.landscape.directions import filter_direction, filter_norms, filter_weights, total_norm
from analysis.landscape.flatness import flatness, random_walks, walk


def bowl(weights: dict[str, Tensor], start: float, curvature: float) -> Callable[[dict[str, Tensor]], float]:
    """`start + curvature / 2 ||w - w0||^2` in all weights together."""
    center = {name: weight.clone() for name, weight in weights.items()}

    def loss(moved: dict[str, Tensor]) -> float:
        return start + curvature / 2 * sum(float((moved[name] - center[name]).square().sum()) for name in center)

    return loss


@pytest.fixture
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "convolution": torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64),
        "linear": 5 * torch.randn(3, 8, generator=generator, dtype=torch.float64),
    }


@pytest.mark.parametrize("curvature", [0.01, 0.3, 4.0])
def test_a_quadratic_bowl_has_a_closed_form(weights: dict[str, Tensor], curvature: float) -> None:
    """A direction is as long as the weights: the distance is sqrt(2 (1 - l0) / curvature) / ||w||, in all of them."""
    walks = random_walks(bowl(weights, 0.2, curvature), weights, directions=3, longest=20.0)
    expected = math.sqrt(2 * 0.8 / curvature) / total_norm(weights)
    assert [found.distance for found in walks] == pytest.approx([expected] * 3, abs=1e-4)
    summary = flatness(walks, weights)
    assert summary["distance"] == pytest.approx(expected, abs=1e-4)
    assert summary["euclidean"] == pytest.approx(math.sqrt(2 * 0.8 / curvature), abs=1e-2)
    assert summary["deviation"] < 1e-4


def test_a_loss_that_reaches_the_threshold_on_a_step_counts_that_step() -> None:
    """Not one more: l(t) = t reaches 1 at t = 1, whatever the step."""
    for step in (0.5, 0.25, 0.1):
        assert walk(lambda t: t, 1.0, step, 5.0).distance == pytest.approx(1.0, abs=2 * step / 2**12)


def test_a_model_above_the_threshold_has_flatness_zero(weights: dict[str, Tensor]) -> None:
    walks = random_walks(bowl(weights, 1.0, 1.0), weights, directions=2)
    assert [found.distance for found in walks] == [0.0, 0.0]
    assert [found.steps for found in walks] == [[0.0], [0.0]]


def test_a_loss_that_never_reaches_the_threshold_is_infinitely_flat(weights: dict[str, Tensor]) -> None:
    walks = random_walks(lambda moved: 0.5, weights, directions=2, step=0.5, longest=2.0)
    assert walks[0].steps == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert flatness(walks, weights)["distance"] == math.inf


def test_a_loss_that_is_not_finite_is_above_the_threshold() -> None:
    assert walk(lambda t: math.nan if t > 0.35 else 0.1, 1.0, 0.1, 5.0).distance == pytest.approx(0.35, abs=1e-3)


def test_every_filter_of_a_direction_has_the_norm_of_its_weights(weights: dict[str, Tensor]) -> None:
    weights["linear"][1] = 0
    direction = filter_direction(weights, torch.Generator().manual_seed(1))
    for name, weight in weights.items():
        per_filter = direction[name].flatten(1).norm(dim=1)
        assert torch.allclose(per_filter, weight.flatten(1).norm(dim=1), rtol=1e-12)
        assert filter_norms(weight).shape == (len(weight), *[1] * (weight.ndim - 1))
    assert total_norm(direction) == pytest.approx(total_norm(weights))


def test_scaling_a_filter_scales_its_direction_and_no_other(weights: dict[str, Tensor]) -> None:
    """So the distance does not see the scale of weights that batch normalization follows."""
    scaled = {name: weight.clone() for name, weight in weights.items()}
    scaled["convolution"][2] *= 7
    one, other = (filter_direction(given, torch.Generator().manual_seed(1)) for given in (weights, scaled))
    ratio = other["convolution"] / one["convolution"]
    expected = torch.ones_like(ratio)
    expected[2] = 7
    assert torch.allclose(ratio, expected)
    assert torch.equal(one["linear"], other["linear"])


def test_biases_and_normalization_are_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    network.requires_grad_(False)  # as a run is opened
    assert list(filter_weights(network)) == ["0.weight", "3.weight"]
    with pytest.raises(ValueError, match="nothing to move"):
        filter_weights(nn.BatchNorm2d(2))


def test_wrong_arguments_are_refused(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="directions must be at least 1"):
        random_walks(lambda moved: 0.0, weights, directions=0)
    for threshold, step, longest in ((1.0, 0.0, 5.0), (0.0, 0.1, 5.0), (1.0, 2.0, 1.0), (1.0, 0.1, math.inf)):
        with pytest.raises(ValueError, match="expected threshold > 0"):
            random_walks(lambda moved: 0.0, weights, threshold=threshold, step=step, longest=longest)
