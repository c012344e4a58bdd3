import math

import pytest
import torch

from influence import agreement


def test_figures_of_a_small_table() -> None:
    predicted = torch.tensor([-2.0, -1.0, 0.5, 1.0, 1.5])
    actual = torch.tensor([-1.0, 0.5, 0.5, 3.0, 2.0])
    report = agreement(predicted, actual)
    assert report.slope == pytest.approx(7.75 / 8.5)
    assert report.pearson == pytest.approx(7.75 / math.sqrt(8.5 * 9.5))
    assert report.sign_agreement == pytest.approx(4 / 5)
    # ranks 1 2 3 4 5 against 1 2.5 2.5 5 4
    assert report.spearman == pytest.approx(8.5 / math.sqrt(10 * 9.5))


def test_order_and_scale() -> None:
    values = torch.tensor([3.0, 1.0, 2.0, 5.0])
    cubed = agreement(values, values**3)
    assert cubed.spearman == pytest.approx(1)
    assert cubed.pearson < 0.99
    reversed_ = agreement(values, -2 * values)
    assert reversed_.pearson == pytest.approx(-1)
    assert reversed_.spearman == pytest.approx(-1)
    assert reversed_.slope == pytest.approx(-2)
    assert reversed_.sign_agreement == 0


def test_a_constant_side_has_no_correlation() -> None:
    assert math.isnan(agreement(torch.tensor([1.0, 2.0]), torch.ones(2)).pearson)
