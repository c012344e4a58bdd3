"""Accuracy and confusion of each class: by hand, and against scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix, recall_score

from analysis.class_effects.metrics import (
    ClassErrors,
    Truth,
    class_accuracy,
    confusion_counts,
    error_counts,
    error_rates,
    false_negatives,
    false_positives,
)
from analysis.class_effects.pairs import co_occurrence
from lightning_modules.data import ImageDataModule

VOTES_FILE = Path(__file__).parents[3] / "shared" / "data" / "cifar10" / "test_human_counts.npy"
LABELS = [0, 0, 0, 0, 1, 1, 2, 2]
PREDICTED = [0, 1, 1, 2, 1, 0, 2, 2]
VOTES = [
    [9, 1, 0],
    [5, 5, 0],  # taken for 1, which half of the people say too
    [10, 0, 0],  # taken for 1, which nobody says
    [6, 0, 4],  # taken for 2, which some say
    [0, 10, 0],
    [0, 10, 0],
    [0, 0, 10],
    [1, 0, 9],
]


def random_case(seed: int = 0, count: int = 500, classes: int = 6) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=count)
    return labels, np.where(generator.random(count) < 0.6, labels, generator.integers(classes, size=count))


def test_a_hand_made_confusion_matrix() -> None:
    truth = Truth.single(LABELS, 3)
    assert confusion_counts(LABELS, PREDICTED, 3).tolist() == [[1, 2, 1], [1, 1, 0], [0, 0, 2]]
    assert class_accuracy(truth, PREDICTED).tolist() == [0.25, 0.5, 1.0]
    assert error_rates(truth, PREDICTED).tolist() == [[0, 0.5, 0.25], [0.5, 0, 0], [0, 0, 0]]
    assert false_positives(truth, PREDICTED).tolist() == [1, 2, 1]
    assert false_negatives(truth, PREDICTED).tolist() == [3, 1, 0]
    assert ClassErrors.of(truth, PREDICTED).mean_accuracy == 0.5


def test_errors_of_many_predictions_are_those_of_each() -> None:
    first, second = Truth.single(LABELS, 3), Truth.single(PREDICTED, 3)  # of other class sizes
    each = [ClassErrors.of(truth, predicted) for truth, predicted in ((first, PREDICTED), (second, LABELS))]
    both = ClassErrors(np.stack([one.counts for one in each]), np.stack([one.sizes for one in each]))
    for name in ("rates", "accuracy", "false_positives", "false_negatives", "mean_accuracy"):
        np.testing.assert_array_equal(getattr(both, name), [getattr(one, name) for one in each])


def test_every_answer_that_enough_people_give_is_right() -> None:
    truth = Truth.from_votes(LABELS, VOTES, 0.4)
    assert class_accuracy(truth, PREDICTED).tolist() == [0.75, 0.5, 1.0]
    assert error_counts(truth, PREDICTED).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert false_positives(truth, PREDICTED).tolist() == [1, 1, 0]
    assert false_negatives(truth, PREDICTED).tolist() == [1, 1, 0]
    stricter = Truth.from_votes(LABELS, VOTES, 0.5)
    assert class_accuracy(stricter, PREDICTED).tolist() == [0.5, 0.5, 1.0]  # 4 of 10 votes are no longer enough


@pytest.mark.parametrize("image", range(len(LABELS)))
def test_a_second_right_answer_raises_multi_label_accuracy_alone(image: int) -> None:
    original, sets = Truth.single(LABELS, 3), Truth.single(LABELS, 3).sets.copy()
    other = (LABELS[image] + 1) % 3
    predicted = [*LABELS]
    predicted[image] = other
    sets[image, other] = True
    several = Truth(original.labels, sets)
    assert class_accuracy(original, predicted)[LABELS[image]] < 1
    assert class_accuracy(several, predicted).tolist() == [1, 1, 1]
    assert not error_counts(several, predicted).any()


@pytest.mark.parametrize("seed", range(3))
def test_single_labels_agree_with_scikit_learn(seed: int) -> None:
    labels, predicted = random_case(seed)
    truth = Truth.single(labels, 6)
    matrix = confusion_matrix(labels, predicted)
    np.testing.assert_array_equal(confusion_counts(labels, predicted, 6), matrix)
    np.testing.assert_array_equal(error_counts(truth, predicted), matrix - np.diag(np.diag(matrix)))
    np.testing.assert_allclose(class_accuracy(truth, predicted), recall_score(labels, predicted, average=None))
    by_class = multilabel_confusion_matrix(labels, predicted)  # [[TN, FP], [FN, TP]] of each class
    np.testing.assert_array_equal(false_positives(truth, predicted), by_class[:, 0, 1])
    np.testing.assert_array_equal(false_negatives(truth, predicted), by_class[:, 1, 0])


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6])
def test_error_rates_of_a_class_sum_to_what_its_accuracy_leaves(threshold: float) -> None:
    labels, predicted = random_case(count=2000)
    votes = np.random.default_rng(1).multinomial(20, 0.5 * np.eye(6)[labels] + 0.5 / 6)
    truth = Truth.from_votes(labels, votes, threshold)
    np.testing.assert_allclose(error_rates(truth, predicted).sum(axis=1), 1 - class_accuracy(truth, predicted))
    assert false_positives(truth, predicted).sum() == false_negatives(truth, predicted).sum()


def test_images_without_a_right_answer_count_nowhere() -> None:
    votes = [*VOTES]
    votes[1] = [3, 3, 4]  # nobody has half of the votes
    truth = Truth.from_votes(LABELS, votes, 0.5)
    kept = [0, 2, 3, 4, 5, 6, 7]
    fewer = Truth.from_votes(np.take(LABELS, kept), np.take(votes, kept, axis=0), 0.5)
    assert truth.sizes.tolist() == [3, 2, 2]
    np.testing.assert_array_equal(
        error_rates(truth, PREDICTED), error_rates(fewer, [PREDICTED[place] for place in kept])
    )


def test_a_label_that_people_deny_is_wrong_even_if_predicted() -> None:
    truth = Truth.from_votes([0, 1], [[0, 10], [0, 10]], 0.5)
    assert error_counts(truth, [0, 1]).tolist() == [[1, 0], [0, 0]]
    assert class_accuracy(truth, [1, 1]).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("votes", "threshold", "words"),
    [
        (VOTES[:-1], 0.5, "one row for each of 8 images"),
        (VOTES, 0.0, r"in \(0, 1\]"),
        (VOTES, 1.5, r"in \(0, 1\]"),
        ([*VOTES[:-1], [0, 0, 0]], 0.5, "one vote or more"),
        ([*VOTES[:-1], [-1, 0, 5]], 0.5, "at least 0"),
        ([*VOTES[:-1], [float("nan"), 0, 5]], 0.5, "expected counts"),
        ([row[:2] for row in VOTES], 0.5, "class numbers below 2|one vote"),
    ],
)
def test_votes_of_something_else_are_refused(votes: Any, threshold: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Truth.from_votes(LABELS, votes, threshold)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no image of class \[3\]"):
        Truth.single(LABELS, 4)
    with pytest.raises(ValueError, match="one prediction for each of 8"):
        class_accuracy(Truth.single(LABELS, 3), PREDICTED[:-1])


@pytest.mark.slow
@pytest.mark.skipif(not VOTES_FILE.is_file(), reason=f"needs CIFAR-10 and its human counts, {VOTES_FILE}")
def test_the_votes_of_cifar10h_are_those_of_the_test_images_in_their_order() -> None:
    labels = ImageDataModule(str(VOTES_FILE.parent), train_size=100).splits.load_test().labels.numpy()
    truth = Truth.from_votes(labels, np.load(VOTES_FILE), 0.1)
    assert truth.counted.all()
    assert truth.sets[np.arange(len(labels)), labels].mean() > 0.999  # hardly a label that people deny
    together = co_occurrence(truth) - np.eye(10)
    cat, dog = 3, 5
    assert set(np.unravel_index(together.argmax(), together.shape)) == {cat, dog}
