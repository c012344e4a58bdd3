"""Predicted against actual changes, at the figures that METHODS.md section 9 found with other code."""

import pytest
import torch
from influence_cases import clusters
from torch import Tensor

from influence import Samples, removal_report, replacement_report

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
    report = replacement_report(TRAINING, VALIDATION, noisy(rows, noise), rows, 3, weight_decay=0.01, damping=1e-3)
    assert report.pearson > 0.97
    assert slope < report.slope < 1.1
    assert report.sign_agreement > 0.9


def test_heavy_damping_rescales_the_prediction_and_keeps_its_order() -> None:
    rows = torch.arange(30)
    light, heavy = (
        replacement_report(TRAINING, VALIDATION, noisy(rows, 0.3), rows, 3, weight_decay=0.01, damping=damping)
        for damping in (1e-3, 1.0)
    )
    assert heavy.slope > 1.5 * light.slope
    assert heavy.pearson > 0.9
    assert torch.equal(heavy.actual, light.actual)


def test_labels_are_replaced_too() -> None:
    rows = torch.arange(20)
    wrong = Samples(TRAINING.features[rows], (TRAINING.targets[rows] + 1) % 3)
    report = replacement_report(TRAINING, VALIDATION, wrong, rows, 3, weight_decay=0.01)
    assert report.actual.mean() > 0  # wrong labels harm
    assert report.pearson > 0.9


def test_forty_points_left_out_one_at_a_time() -> None:
    training = Samples(*clusters(40, seed=0))
    report = removal_report(training, VALIDATION, torch.arange(40), 3, weight_decay=0.1)
    assert len(report.actual) == 40
    assert report.pearson > 0.9
    assert report.spearman > 0.9
    assert report.sign_agreement > 0.8


def test_agreement_with_another_validation_set_is_worse() -> None:
    """Control: the prediction is about these samples, not about training in general."""
    training = Samples(*clusters(40, seed=0))
    own = removal_report(training, VALIDATION, torch.arange(40), 3, weight_decay=0.1)
    swapped = Samples(VALIDATION.features, (VALIDATION.targets + 1) % 3)
    other = removal_report(training, swapped, torch.arange(40), 3, weight_decay=0.1)
    crossed = torch.corrcoef(torch.stack([own.predicted, other.actual]))[0, 1]
    assert crossed < 0.5 < own.pearson
