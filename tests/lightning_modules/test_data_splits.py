from typing import Any

import numpy as np
import pytest

from lightning_modules.data.partition import Partition, balanced_subset, partition, stratified_subset

LABELS = np.repeat(np.arange(4), [40, 30, 20, 10])
NAMES = ("a", "b", "c", "d")


def cut(labels: np.ndarray = LABELS, train: int | None = None, seed: int = 0, **sizes: Any) -> Partition:
    given = {"influence_size": 20, "val_size": 10, "test_size": 30} | sizes
    return partition(labels, NAMES, train_size=train, seed=seed, **given)


def test_partition_is_disjoint_complete_and_stratified() -> None:
    parts = vars(cut())
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 40,
        "influence": 20,
        "validation": 10,
        "test": 30,
    }
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(100))
    for rows in parts.values():
        np.testing.assert_allclose(np.bincount(LABELS[rows]) / len(rows), [0.4, 0.3, 0.2, 0.1], atol=0.051)


def test_partition_depends_on_the_seed_alone() -> None:
    one, same, other = vars(cut()), vars(cut()), vars(cut(seed=1))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one)


def test_other_influence_size_keeps_test_and_validation() -> None:
    one, other = cut(), cut(influence_size=30)
    assert np.array_equal(one.test, other.test)
    assert np.array_equal(one.validation, other.validation)


def test_size_zero_comes_from_elsewhere() -> None:
    parts = cut(influence_size=0, val_size=0, test_size=0)
    assert len(parts.train) == 100
    assert len(parts.influence) == len(parts.validation) == len(parts.test) == 0


@pytest.mark.parametrize(
    ("size", "expected"),
    [(4, [1, 1, 1, 1]), (20, [5, 5, 5, 5]), (50, [14, 13, 13, 10]), (100, [40, 30, 20, 10])],
)
def test_balanced_subset_is_as_balanced_as_the_classes_allow(size: int, expected: list[int]) -> None:
    rows = balanced_subset(np.arange(100), LABELS, size, seed=0)
    counts = np.bincount(LABELS[rows])
    assert len(set(rows)) == size
    assert sorted(counts.tolist(), reverse=True) == expected


def test_balanced_subset_draws_by_seed() -> None:
    draws = [balanced_subset(np.arange(100), LABELS, 8, seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_stratified_subset_takes_all_of_a_small_table() -> None:
    assert len(stratified_subset(LABELS, 500, "val_size", NAMES, 0)) == 100
    assert np.bincount(LABELS[stratified_subset(LABELS, 10, "val_size", NAMES, 0)]).tolist() == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"test_size": 90}, r"test_size=90, .* together need 124 images, but there are 100"),
        ({"train": 41}, r"train_size=41 together need 101 images, but there are 100"),
        ({"train": 3}, r"train_size=3 cannot give each of 4 classes a sample"),
        ({"influence_size": 3}, r"influence_size=3 cannot give each of 4 classes a sample: raise it to 4"),
    ],
)
def test_impossible_sizes(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut(**sizes)


def test_class_with_a_single_image() -> None:
    with pytest.raises(ValueError, match="class 'd' has a single image"):
        cut(np.repeat(np.arange(4), [40, 30, 29, 1]))


def test_class_that_runs_out_before_training() -> None:
    with pytest.raises(ValueError, match="'d'"):
        cut(np.repeat(np.arange(4), [40, 30, 28, 2]), influence_size=40)


def test_balanced_subset_errors() -> None:
    with pytest.raises(ValueError, match="train_size=101, but only 100 images"):
        balanced_subset(np.arange(100), LABELS, 101, 0)
