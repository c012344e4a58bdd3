from collections.abc import Sequence

import numpy as np
import pytest

from lightning_modules.data.folds import equal_folds
from lightning_modules.data.iterative_stratification import stratified_parts
from lightning_modules.data.partition import Labels, partition, stratified_subset

NAMES = tuple("abcdefgh")


def random_labels(count: int = 600, seed: int = 0) -> np.ndarray:
    """Classes of 2 to 40 % of the images, some of them together; a tenth of the images has none."""
    rng = np.random.default_rng(seed)
    labels = rng.random((count, len(NAMES))) < np.geomspace(0.02, 0.4, len(NAMES))
    labels[:, 1] |= labels[:, 0] & (rng.random(count) < 0.8)
    labels[: count // 10] = False
    return labels.astype(np.float32)


def imbalance(labels: Labels, parts: Sequence[np.ndarray]) -> float:
    """Mean distance of the counts of each class in each part from its share, in images."""
    shares = np.array([len(part) for part in parts])[:, None] / sum(map(len, parts))
    counts = np.array([labels[part].sum(axis=0) for part in parts])
    return float(np.abs(counts - shares * counts.sum(axis=0)).mean())


@pytest.mark.parametrize("sizes", [(100, 500), (7, 593), (150, 150, 150, 150), (0, 600)])
def test_parts_have_their_sizes_and_every_row_once(sizes: tuple[int, ...]) -> None:
    labels = random_labels()
    parts = stratified_parts(labels, sizes, seed=0)
    assert [len(part) for part in parts] == list(sizes)
    assert sorted(np.concatenate(parts).tolist()) == list(range(600))
    assert all((np.diff(part) > 0).all() for part in parts)


@pytest.mark.parametrize("sizes", [(100, 500), (150, 150, 150, 150)])
def test_parts_keep_the_share_of_each_class_better_than_chance(sizes: tuple[int, ...]) -> None:
    ends = np.cumsum(sizes)[:-1]
    ours, chance = [], []
    for seed in range(5):
        labels = random_labels(seed=seed)
        ours.append(imbalance(labels, stratified_parts(labels, sizes, seed)))
        shuffled = np.random.default_rng(seed).permutation(600)
        chance.append(imbalance(labels, np.split(shuffled, ends)))
    assert max(ours) < 1.5
    assert np.mean(ours) < 0.35 * np.mean(chance)


def test_parts_of_one_label_an_image_are_exact() -> None:
    labels = np.eye(4, dtype=np.float32)[np.repeat(range(4), [40, 30, 20, 10])]
    first, second = stratified_parts(labels, (50, 50), seed=3)
    assert labels[first].sum(axis=0).tolist() == labels[second].sum(axis=0).tolist() == [20, 15, 10, 5]


def test_parts_follow_the_seed_alone() -> None:
    labels = random_labels()
    one, same, other = (stratified_parts(labels, (100, 500), seed)[0].tolist() for seed in (0, 0, 1))
    assert one == same != other


def test_splits_keep_the_shares_and_the_training_images_all_classes() -> None:
    labels = random_labels()
    sizes = {"influence_size": 100, "val_size": 80, "test_size": 120}
    parts = partition(labels, NAMES, **sizes, train_size=None, seed=0)
    rows = [parts.train, parts.influence, parts.validation, parts.test]
    assert [len(part) for part in rows] == [300, 100, 80, 120]
    assert len(np.unique(np.concatenate(rows))) == 600
    assert imbalance(labels, rows) < 1.5
    smaller = partition(labels, NAMES, **{**sizes, "influence_size": 50}, train_size=150, seed=0)
    assert np.array_equal(smaller.test, parts.test)
    assert np.array_equal(smaller.validation, parts.validation)
    assert len(smaller.train) == 150
    assert (labels[smaller.train].sum(axis=0) > 0).all()


def test_a_subset_has_the_shares_of_its_table() -> None:
    labels = random_labels()
    rows = stratified_subset(labels, 200, "val_size", NAMES, 0)
    assert np.abs(labels[rows].sum(axis=0) - labels.sum(axis=0) / 3).max() < 3
    assert len(stratified_subset(labels, 601, "val_size", NAMES, 0)) == 600


def test_a_class_without_training_images_is_named() -> None:
    labels = random_labels()
    labels[:, 0] = 0
    labels[5, 0] = 1
    with pytest.raises(ValueError, match=r"no training image is left of class 'a'.*or raise train_size=20"):
        partition(labels, NAMES, influence_size=100, val_size=100, test_size=100, train_size=20, seed=0)
    with pytest.raises(ValueError, match="together need 601 images, but there are 600"):
        partition(labels, NAMES, influence_size=200, val_size=200, test_size=200, train_size=None, seed=0)


def test_folds_have_one_size_and_the_share_of_each_class() -> None:
    labels = random_labels(603)
    folds = equal_folds(labels, 5, NAMES, seed=0)
    assert folds.shape == (5, 120)
    assert len(np.unique(folds)) == 600
    assert imbalance(labels, list(folds)) < 1.5
    assert (labels[folds].sum(axis=1) > 0).all()
    assert not np.array_equal(folds, equal_folds(labels, 5, NAMES, seed=1))


def test_a_class_too_rare_for_the_folds_is_named() -> None:
    labels = random_labels()
    labels[:, 0] = 0
    labels[[5, 6, 7], 0] = 1
    with pytest.raises(ValueError, match=r"folds=5, but of class 'a' there is only 3 .*lower folds to 3"):
        equal_folds(labels, 5, NAMES, seed=0)
