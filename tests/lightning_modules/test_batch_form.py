"""Batches in the forms that people's data loaders have, with other images and labels put in."""

from collections import OrderedDict, namedtuple

import pytest
import torch

from lightning_modules.learner.batch_form import images_and_labels, with_images_and_labels

IMAGES, LABELS, OTHER = torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), torch.tensor([5, 6])
Named = namedtuple("Named", "image label name")


@pytest.mark.parametrize(
    "batch",
    [
        (IMAGES, LABELS, "x"),
        [IMAGES, LABELS],
        Named(IMAGES, LABELS, "x"),
        {"pixel_values": IMAGES, "labels": LABELS, "name": "x"},
        OrderedDict(image=IMAGES, target=LABELS),
    ],
)
def test_a_changed_batch_keeps_its_form(batch: object) -> None:
    images, labels = images_and_labels(batch)
    assert images is IMAGES
    assert labels is LABELS
    changed = with_images_and_labels(batch, IMAGES + 1, OTHER)
    assert type(changed) is type(batch)
    assert torch.equal(images_and_labels(changed)[0], IMAGES + 1)
    assert images_and_labels(changed)[1] is OTHER
    assert images_and_labels(batch)[1] is LABELS


def test_labels_at_another_place() -> None:
    batch = (IMAGES, OTHER, LABELS)
    assert images_and_labels(batch, 2)[1] is LABELS
    changed = with_images_and_labels(batch, IMAGES, LABELS + 1, 2)
    assert changed[1] is OTHER
    assert torch.equal(changed[2], LABELS + 1)
    assert images_and_labels({"image": IMAGES, "fine": LABELS, "label": OTHER}, "fine")[1] is LABELS
