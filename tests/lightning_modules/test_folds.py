import pickle
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.data.folds import TrainingImages, equal_folds
from lightning_modules.data.labelled_images import LabelledImages
from lightning_modules.data.resumable import ResumableLoader
from lightning_modules.data.store import MemoryStore

NAMES = ("a", "b", "c", "d")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(5, 30), min_size=1, max_size=4), st.integers(2, 5), st.integers(0, 3))
def test_folds_are_equal_disjoint_and_stratified(counts: list[int], folds: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    cut = equal_folds(labels, folds, NAMES, seed)
    assert cut.shape == (folds, len(labels) // folds)
    assert len(np.unique(cut)) == cut.size
    of_class = np.array([np.bincount(labels[fold], minlength=len(counts)) for fold in cut])
    assert of_class.min() >= 1
    assert np.ptp(of_class, axis=0).max() <= 1
    spare = np.setdiff1d(np.arange(len(labels)), cut)
    assert len(spare) == len(labels) % folds
    left = np.bincount(labels[spare], minlength=len(counts))
    assert all(counts[label] - number >= folds for label, number in enumerate(left))


def test_the_seed_decides_the_folds() -> None:
    labels = np.arange(60) % 4
    one, same, other = (equal_folds(labels, 3, NAMES, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            [9, 4, 3],
            "folds=5, but of class 'c' there is only 3 .* every fold needs one of every class: lower folds to 3",
        ),
        ([9, 1, 1], "of class 'b', 'c' there is only 1 .* add images of it, or set influence_source to held_out"),
    ],
)
def test_a_pool_that_is_too_small(counts: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        equal_folds(np.repeat(np.arange(3), counts), 5, NAMES, 0)


def numbered(count: int = 23) -> LabelledImages:
    """Images whose pixels and labels are their numbers."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return LabelledImages(MemoryStore(images), torch.arange(count))


def test_without_folds_rows_are_indices() -> None:
    dataset = TrainingImages(numbered(), torch.zeros(0, 0, dtype=torch.int64))
    assert len(dataset) == 23
    images, labels, rows = dataset.__getitems__([5, 0, 22])
    assert rows.dtype == torch.int64
    assert rows.tolist() == labels.tolist() == [5, 0, 22]
    assert (images[:, 0, 0, 0] * 255).round().tolist() == [5, 0, 22]


FOLDS = torch.tensor([[3, 9, 4], [1, 22, 8], [20, 0, 7], [10, 11, 2]])


@pytest.mark.parametrize("fold", range(4))
def test_one_fold_is_left_out(fold: int) -> None:
    dataset = TrainingImages(numbered(), FOLDS, fold=1)
    dataset.hold_out(fold)
    assert len(dataset) == 20
    _, labels, rows = dataset.__getitems__(range(20))
    assert torch.equal(labels, rows)
    assert sorted(rows.tolist()) == sorted(set(range(23)) - set(FOLDS[fold].tolist()))
    assert [int(dataset[index][2]) for index in range(20)] == rows.tolist()
    assert all(int(dataset[index][1]) == int(dataset[index][2]) for index in range(20))


def loader_of(dataset: TrainingImages, **options: Any) -> ResumableLoader:
    shuffle = torch.Generator().manual_seed(0)
    return ResumableLoader.shuffling(dataset, 5, shuffle, True, collate_fn=_whole, **options)


def _whole(batch: Any) -> Any:
    return batch


def rows_of(batches: Iterator[Any] | ResumableLoader) -> set[int]:
    return {row for _, _, rows in batches for row in rows.tolist()}


def test_workers_that_live_on_see_the_fold_change() -> None:
    dataset = TrainingImages(numbered(), FOLDS)
    loader = loader_of(dataset, num_workers=2, persistent_workers=True)
    for fold in (0, 1, 3, 0):
        dataset.hold_out(fold)
        assert rows_of(loader) == set(range(23)) - set(FOLDS[fold].tolist())


def test_workers_that_are_spawned_see_the_fold_change_too() -> None:
    dataset = TrainingImages(numbered(), FOLDS)
    sent = pickle.loads(ForkingPickler.dumps(dataset))  # what a spawned process gets
    for fold in (1, 3):
        dataset.hold_out(fold)
        assert torch.equal(sent.rows(range(20)), dataset.rows(range(20)))
    assert set(FOLDS[3].tolist()).isdisjoint(sent.rows(range(20)).tolist())


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_begins_when_its_first_batch_is_asked_for(workers: int) -> None:
    """Lightning makes the iterator of the first epoch before anybody can say which fold is held out."""
    dataset = TrainingImages(numbered(), FOLDS)
    iterator = iter(loader_of(dataset, num_workers=workers))
    dataset.hold_out(2)
    assert rows_of(iterator) == set(range(23)) - set(FOLDS[2].tolist())


def counts_of(dataset: TrainingImages) -> torch.Tensor:
    return dataset.rows(range(len(dataset))).bincount(minlength=23)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 50), min_size=23, max_size=23).filter(lambda found: sum(found) > 1),
    st.floats(0.001, 0.999),
)
def test_an_image_is_drawn_as_often_as_its_weight_rounded_up_or_down(weights: list[float], offset: float) -> None:
    dataset = TrainingImages(numbered(), torch.zeros(0, 0, dtype=torch.int64))
    dataset.draw(torch.tensor(weights), offset)
    expected = torch.tensor(weights, dtype=torch.float64) / sum(weights) * 23
    assert float((counts_of(dataset) - expected).abs().max()) < 1 + 1e-4
    assert len(dataset) == 23


@pytest.mark.parametrize("offset", [0.02, 0.5, 0.98])
def test_equal_weights_take_every_image_once(offset: float) -> None:
    dataset = TrainingImages(numbered(), torch.zeros(0, 0, dtype=torch.int64))
    dataset.draw(torch.zeros(23).softmax(dim=0) * 23, offset)
    assert dataset.rows(range(23)).tolist() == list(range(23))


def test_over_many_offsets_the_counts_add_up_to_the_weights() -> None:
    dataset, weights = TrainingImages(numbered(), torch.zeros(0, 0, dtype=torch.int64)), torch.rand(23)
    total = torch.zeros(23)
    for number in range(400):
        dataset.draw(weights, (number + 0.5) / 400)
        total += counts_of(dataset)
    torch.testing.assert_close(total / 400, weights / weights.mean(), rtol=0, atol=0.01)


def test_no_image_of_the_fold_is_drawn() -> None:
    dataset = TrainingImages(numbered(), FOLDS)
    dataset.hold_out(2)
    dataset.draw(torch.ones(23) + 100 * torch.isin(torch.arange(23), FOLDS[2]), 0.3)
    assert sorted(dataset.rows(range(20)).tolist()) == sorted(set(range(23)) - set(FOLDS[2].tolist()))
