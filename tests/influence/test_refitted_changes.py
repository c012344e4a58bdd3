"""Predicted against measured changes of the validation loss on Gaussian classes."""

import pytest
import torch
from influence_cases import clusters
from refitted_changes import Changes, removal_changes, replacement_changes
from torch import Tensor

from influence import Samples

TRAINING = Samples(*clusters(300, seed=0))
VALIDATION = Samples(*clusters(300, seed=1))


def noisy(rows: Tensor, noise: float) -> Samples:
    generator = torch.Generator().manual_seed(2)
    features = TRAINING.features[rows]
    moved = features + noise * torch.randn(features.shape, generator=generator, dtype=torch.float64)
    return Samples(moved, TRAINING.targets[rows])


@pytest.mark.parametrize(("noise", "slope"), [(0.1, 0.97), (0.3, 0.93), (1.0, 0.8)])
def test_replacements_at_moderate_noise_are_predicted(noise: float, slope: float) -> None:
    rows = torch.arange(40)
    found = replacement_changes(TRAINING, VALIDATION, noisy(rows, noise), rows, 3, weight_decay=0.01, damping=1e-3)
    assert found.pearson > 0.97
    assert slope < found.slope < 1.1
    assert found.sign_agreement > 0.9


def test_heavy_damping_rescales_the_prediction_and_keeps_its_order() -> None:
    rows = torch.arange(30)
    light, heavy = (
        replacement_changes(TRAINING, VALIDATION, noisy(rows, 0.3), rows, 3, weight_decay=0.01, damping=damping)
        for damping in (1e-3, 1.0)
    )
    assert heavy.slope > 1.5 * light.slope
    assert heavy.pearson > 0.9
    assert torch.equal(heavy.measured, light.measured)


def test_labels_are_replaced_too() -> None:
    rows = torch.arange(20)
    wrong = Samples(TRAINING.features[rows], (TRAINING.targets[rows] + 1) % 3)
    found = replacement_changes(TRAINING, VALIDATION, wrong, rows, 3, weight_decay=0.01)
    assert found.measured.mean() > 0  # wrong labels harm
    assert found.pearson > 0.9


def test_forty_points_left_out_one_at_a_time() -> None:
    """With another validation set as control: the prediction is about these samples, not about training in general."""
    training, everyone = Samples(*clusters(40, seed=0)), torch.arange(40)
    own = removal_changes(training, VALIDATION, everyone, 3, weight_decay=0.1)
    assert len(own.measured) == 40
    assert own.pearson > 0.9
    assert own.spearman > 0.9
    assert own.sign_agreement > 0.8
    swapped = Samples(VALIDATION.features, (VALIDATION.targets + 1) % 3)
    other = removal_changes(training, swapped, everyone, 3, weight_decay=0.1)
    assert Changes(own.predicted, other.measured).pearson < 0.5
