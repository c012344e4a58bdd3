"""The images and labels of a batch, in the forms that people's data loaders have."""

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from torch import Tensor

_IMAGE_KEYS = ("image", "images", "pixel_values", "x")
_LABEL_KEYS = ("label", "labels", "target", "y")


def images_and_labels(batch: Any, label_key: int | str | None = None) -> tuple[Tensor, Tensor]:
    """Images and labels of a batch, ValueError if it has none; by default with the usual place or key of labels."""
    if isinstance(batch, Mapping):
        image, label = _key(batch, _IMAGE_KEYS), _key(batch, _LABEL_KEYS) if label_key is None else label_key
        if image is not None and label in batch:
            return batch[image], batch[label]
        if image is not None and label_key is not None:
            raise ValueError(f"label_key={label_key!r}: the batch has the keys {', '.join(map(str, batch))}.")
        raise ValueError(
            f"expected a batch with an image ({', '.join(_IMAGE_KEYS)}) and a label ({', '.join(_LABEL_KEYS)}), "
            f"found the keys {', '.join(map(str, batch))}."
        )
    place = 1 if label_key is None else label_key
    if isinstance(batch, Sequence) and isinstance(place, int) and len(batch) > place and isinstance(batch[0], Tensor):
        return batch[0], batch[place]
    if isinstance(place, str) or (label_key is not None and isinstance(batch, tuple | list)):
        found = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise ValueError(f"label_key={label_key!r}: the batch has no part of that place or key, found {found}.")
    parts = f" of {', '.join(type(part).__name__ for part in batch[:3])}" if isinstance(batch, tuple | list) else ""
    raise ValueError(
        f"expected batches (images, labels, ...) of tensors or dictionaries, found a {type(batch).__name__}{parts}."
    )


def row_numbers(batch: Any) -> Tensor:
    """The third part of a batch of `InfluenceDataModule`: the number of each image among all training images."""
    if isinstance(batch, Sequence) and len(batch) >= 3 and isinstance(batch[2], Tensor):
        return batch[2]
    raise ValueError(f"expected batches (images, labels, rows), found a {type(batch).__name__} of {len(batch)} parts.")


def with_images_and_labels(batch: Any, images: Tensor, labels: Tensor, label_key: int | str | None = None) -> Any:
    """A copy of the batch with other images and labels; see `images_and_labels`."""
    if isinstance(batch, Mapping):
        label = _key(batch, _LABEL_KEYS) if label_key is None else label_key
        changed = copy.copy(batch) if isinstance(batch, MutableMapping) else dict(batch)
        changed[_key(batch, _IMAGE_KEYS)], changed[label] = images, labels
        return changed
    parts = [images, *batch[1:]]
    parts[label_key if isinstance(label_key, int) else 1] = labels
    if hasattr(batch, "_make"):
        return type(batch)._make(parts)  # a named tuple
    return tuple(parts) if isinstance(batch, tuple) else parts


def parts_of(batch: Any) -> Mapping[int | str, Any]:
    """The parts of a batch by their place or key."""
    return batch if isinstance(batch, Mapping) else dict(enumerate(batch))


def _key(batch: Mapping[str, Any], known: Sequence[str]) -> str | None:
    return next((key for key in known if key in batch), None)
