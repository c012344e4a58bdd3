"""Confusion pairs: growth, the bias between two classes, and the four categories."""

import numpy as np
import pytest

from analysis.class_effects.metrics import Truth
from analysis.class_effects.pairs import categorize, co_occurrence, growing_pairs

SIMILARITY = np.array([[1, 0.8, 0.1, 0], [0.8, 1, 0, 0], [0.1, 0, 1, 0.9], [0, 0, 0.9, 1.0]])


def test_each_pair_has_its_category() -> None:
    assert categorize(often=True, similar=True) == "ambiguous"
    assert categorize(often=True, similar=False) == "co-occurring"
    assert categorize(often=False, similar=True) == "fine-grained"
    assert categorize(often=False, similar=False) == "unrelated"


def test_co_occurrence_counts_images_whose_people_say_both() -> None:
    votes = [[5, 5, 0], [10, 0, 0], [10, 0, 0], [10, 0, 0], [0, 10, 0], [5, 5, 0], [0, 0, 10]]
    together = co_occurrence(Truth.from_votes([0, 0, 0, 0, 1, 1, 2], votes, 0.3))
    assert together.tolist() == [[1.0, 0.375, 0.0], [0.375, 1.0, 0.0], [0.0, 0.0, 1.0]]  # (1/4 + 1/2) / 2
    np.testing.assert_array_equal(co_occurrence(Truth.single([0, 1, 2], 3)), np.eye(3))


def test_pairs_are_those_that_grow_with_their_category() -> None:
    rates = np.zeros((2, 4, 4))
    rates[0, 1, 0] = 0.3  # before: many of 1 are taken for 0 ...
    rates[1, 0, 1], rates[1, 1, 0] = 0.4, 0.1  # ... and now the other way round
    rates[1, 0, 2], rates[1, 2, 3], rates[1, 1, 3] = 0.3, 0.2, 0.1
    together = np.eye(4)
    together[0, 1] = together[1, 0] = together[0, 2] = together[2, 0] = 0.1
    pairs = growing_pairs(rates, [0, 0, 0, 0], SIMILARITY, 0.5, together, 0.05)
    assert [(pair.label, pair.prediction, pair.category) for pair in pairs] == [
        (0, 1, "ambiguous"),
        (0, 2, "co-occurring"),
        (2, 3, "fine-grained"),
        (1, 3, "unrelated"),
    ]
    assert (pairs[0].growth, pairs[0].reverse) == pytest.approx((0.4, -0.2))
    assert len(growing_pairs(rates, [0, 0, 0, 0], SIMILARITY, 0.5, together, 0.05, count=2)) == 2


def test_growth_is_against_the_best_strength_of_the_class() -> None:
    rates = np.zeros((3, 4, 4))
    rates[:, 0, 1] = [0.2, 0.1, 0.3]
    (pair,) = growing_pairs(rates, [1, 0, 0, 0], SIMILARITY, 0.5)
    assert (pair.growth, pair.rate) == pytest.approx((0.2, 0.3))
    assert (pair.category or pair.co_occurrence) is None  # there are no votes


def test_the_diagonal_is_no_pair() -> None:
    rates = np.zeros((2, 4, 4))
    rates[1, 2, 2] = 0.5  # people deny the label
    assert growing_pairs(rates, [0] * 4, SIMILARITY, 0.5) == []


def test_a_similarity_of_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="each of 4 classes"):
        growing_pairs(np.zeros((2, 4, 4)), [0] * 4, np.eye(3), 0.5)
