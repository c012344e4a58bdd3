"""Tasks of the classifier studies: every change of real images against an independent computation."""

from collections import Counter
from typing import Any

import pytest
import torch
from scipy import stats
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from lightning_modules.data import LabelledImages, MemoryStore, Splits
from studies.kinds.classifier.data import Data
from studies.kinds.classifier.shifts import shifted
from studies.kinds.classifier.tasks import TaskData, color_cast, dirt, noise_level

DIGITS = Data(image_size=8, influence_size=100, val_size=100, test_size=200)


def digits(change: str, **options: Any) -> TaskData:
    return TaskData(DIGITS.open(3), change, options, seed=3)


def test_deployment_changes_all_but_the_training_images() -> None:
    data, before = digits("deployment", planted="rotation", magnitude=45.0), DIGITS.open(3).splits
    assert torch.equal(data.splits.train.everything()[0], before.train.everything()[0])
    for name in ("influence", "validation"):
        (images, labels), (old, old_labels) = (getattr(s, name).everything() for s in (data.splits, before))
        assert torch.equal(labels, old_labels)
        assert (images != old).flatten(1).any(dim=1).float().mean() > 0.95
    assert (data.splits.load_test().everything()[0] != before.load_test().everything()[0]).any()
    assert data.splits.deployment


def test_a_planted_rotation_is_torchvisions() -> None:
    before = DIGITS.open(3).splits.influence
    images, _ = before.everything()
    after, _ = shifted(before, 5, planted="rotation", magnitude=30.0).everything()
    angles = torch.linspace(-30, 30, 241).tolist()
    for image, turned in zip(images[:4], after[:4], strict=True):
        candidates = [functional.rotate(image, angle, InterpolationMode.BILINEAR) for angle in angles]
        nearest = min((candidate - turned).abs().mean() for candidate in candidates)
        assert nearest < 0.01 < (image - turned).abs().mean()


def test_classes_that_are_spared_stay_as_they_are() -> None:
    before = DIGITS.open(3).splits.influence
    images, labels = before.everything()
    after, _ = shifted(before, 5, planted="rotation", magnitude=60.0, except_classes=[6, 9]).everything()
    changed = (after - images).abs().flatten(1).amax(dim=1) > 1 / 255
    spared = (labels == 6) | (labels == 9)
    assert not changed[spared].any()
    assert changed[~spared].float().mean() > 0.95


def test_each_image_of_a_mix_has_one_of_the_corruptions() -> None:
    before = DIGITS.open(3).splits.influence
    images, _ = before.everything()
    after, _ = shifted(before, 5, corruptions=["brightness", "contrast"], severity=5).everything()
    brighter = (after - (images + 0.4).clamp(max=1)).abs().flatten(1).amax(dim=1) < 0.01
    assert 0.3 < brighter.float().mean() < 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "give planted .*rotation.* or corruptions .*contrast"), ({"planted": "turn"}, "unknown 'turn'; known are")],
)
def test_shifts_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shifted(DIGITS.open(3).splits.influence, 0, **options)


def test_dirt_leaves_classes_unequal_and_labels_wrong() -> None:
    labels = torch.arange(10).repeat(400)
    images = MemoryStore(labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous())  # show their class
    clean = LabelledImages(images, labels)
    splits = Splits(clean, clean, clean, lambda: clean, tuple(map(str, range(10))))
    dirty = dirt(splits, 0, imbalance=10.0, noise=0.1)
    shown = (dirty.train.everything()[0][:, 0, 0, 0] * 255).round().long()
    counts = shown.bincount().tolist()
    assert counts == [round(400 * 10 ** (-k / 9)) for k in range(10)]
    wrong = (shown != dirty.train.labels).double().mean().item()
    assert stats.binomtest(round(wrong * len(shown)), len(shown), 0.1).pvalue > 0.01
    assert torch.equal(dirty.influence.labels, labels)


def test_repeated_classes_are_as_large_as_the_largest_and_as_dirty_as_before() -> None:
    labels = torch.arange(4).repeat(100)
    numbers = torch.arange(400)  # an image shows its number
    images = MemoryStore(torch.stack([numbers // 256, numbers % 256], dim=1).to(torch.uint8).view(-1, 2, 1, 1))
    clean = LabelledImages(images, labels)
    splits = Splits(clean, clean, clean, lambda: clean, tuple("abcd"))
    before, after = (dirt(splits, 0, imbalance=10.0, noise=0.1, repeated=each).train for each in (False, True))

    def rows_of(label: int, dataset: LabelledImages) -> list[int]:
        high, low = (dataset.everything()[0][dataset.labels == label][:, :, 0, 0] * 255).round().long().unbind(1)
        return (high * 256 + low).tolist()

    for label in range(4):
        once, often = rows_of(label, before), Counter(rows_of(label, after))
        assert set(often) == set(once)
        assert often.total() == before.labels.bincount().max()
        assert max(often.values()) - min(often.values()) <= 1


def test_quarter_turns_turn_back_to_the_images() -> None:
    data, before = digits("quarter_turns"), DIGITS.open(3).splits
    assert data.num_classes == 4
    images, turns = data.splits.train.everything()
    assert turns.bincount().max() - turns.bincount().min() <= 1
    back = torch.stack([torch.rot90(image, -int(turn), (1, 2)) for image, turn in zip(images, turns, strict=True)])
    assert torch.allclose(back, before.train.everything()[0], atol=1 / 255)


def test_a_cast_is_a_gain_of_one_channel() -> None:
    gray = LabelledImages(MemoryStore(torch.full((60, 3, 2, 2), 100, dtype=torch.uint8)), torch.zeros(60).long())
    cast = color_cast(Splits(gray, gray, gray, lambda: gray, ("any",)), 0, stops=0.5)
    assert len(cast.class_names) == 6
    images, labels = cast.train.everything()
    assert labels.bincount().tolist() == [10] * 6
    for image, label in zip(images, labels.tolist(), strict=True):
        expected = torch.full((3,), 100 / 255)
        expected[label // 2] *= 2 ** (-0.5 if label % 2 else 0.5)
        assert torch.allclose(image[:, 0, 0], expected, atol=1 / 255)


def test_the_class_is_the_standard_deviation_of_the_noise() -> None:
    gray = LabelledImages(MemoryStore(torch.full((40, 3, 16, 16), 128, dtype=torch.uint8)), torch.zeros(40).long())
    noisy = noise_level(Splits(gray, gray, gray, lambda: gray, ("any",)), 0, levels=[0.02, 0.05, 0.1, 0.15])
    assert noisy.class_names == ("0.02", "0.05", "0.1", "0.15")
    for split in (noisy.train, noisy.influence, noisy.validation, noisy.load_test()):
        images, labels = split.everything()
        assert labels.bincount().tolist() == [10] * 4
        for label, level in enumerate((0.02, 0.05, 0.1, 0.15)):
            assert images[labels == label].std().item() == pytest.approx(level, rel=0.05)
    assert not torch.equal(noisy.train.everything()[0], noisy.influence.everything()[0])
