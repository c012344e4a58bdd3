"""Images that are in the data more than once: in two splits, or with two labels.

Images are compared by a hash of their content. Splits that are decoded on the fly are compared only where an influence
set has a folder of its own, since all their files must be read for it.
"""

from collections.abc import Sequence

from pytorch_lightning.utilities import rank_zero_warn

from lightning_modules.data.file_store import FileStore
from lightning_modules.data.labelled_images import LabelledImages
from lightning_modules.data.store import ImageStore


def check_no_overlap(influence: FileStore, splits: dict[str, ImageStore]) -> None:
    """Raise when the influence set shares an image with another split, of those that are given by name.

    No label is read, so that the test split may be among the splits.

    Raises:
        ValueError: Naming the first split that shares images, and how many.
    """
    pixels, files = set(influence.decoded().content_hashes()), set(influence.content_hashes())
    for name, store in splits.items():
        shared = len((pixels if store.in_memory else files).intersection(store.content_hashes()))
        if shared:
            raise ValueError(
                f"influence_path ({influence.where}) shares {shared} of its {len(influence)} images with the "
                f"{name} split: remove them there, or leave influence_path out to cut the influence set off "
                "the training data."
            )


def warn_of_shared_images(name: str, images: LabelledImages, others: dict[str, LabelledImages]) -> None:
    """Warn if images of a split that measures are also in splits that were used before.

    Args:
        name: Of the split, for the message.
        images: The split.
        others: The splits that it is compared with, by name.
    """
    if not images.store.in_memory:
        return
    found = images.store.content_hashes()
    for other, theirs in others.items():
        if not theirs.store.in_memory:
            continue
        known = set(theirs.store.content_hashes())
        shared = [row for row, one in enumerate(found) if one in known]
        if shared:
            rank_zero_warn(
                f"{len(shared)} of the {len(images)} images of the {name} split are also in the {other} split, the "
                f"first is {images.sources()[shared[0]]}: what they show is no evidence for new images. Remove the "
                "copies from the data."
            )


def warn_of_two_labels(images: LabelledImages, class_names: Sequence[str]) -> None:
    """Warn if the training split has an image more than once, with different labels."""
    if not images.store.in_memory:
        return
    first: dict[bytes, int] = {}
    pairs = ((first.setdefault(one, row), row) for row, one in enumerate(images.store.content_hashes()))
    different = [(old, new) for old, new in pairs if old != new and not images.labels[old].equal(images.labels[new])]
    if different:
        sources = images.sources()
        shown = " and ".join(f"{sources[row]} ({_named(images, row, class_names)})" for row in different[0])
        rank_zero_warn(
            f"{len(different)} training images are copies of another with a different label, for instance {shown}: "
            "keep one of them, with the right label, or list both classes if images may have several."
        )


def _named(images: LabelledImages, row: int, class_names: Sequence[str]) -> str:
    """Return the label, or labels, of an image by name."""
    label = images.labels[row]
    numbers = [int(label)] if label.ndim == 0 else label.nonzero().flatten().tolist()
    return ", ".join(class_names[number] for number in numbers) or "no label"
