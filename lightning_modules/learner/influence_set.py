"""The influence set: read from tensors, a data set or a loader, checked, and moved to the classifier."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from influence.losses import Loss
from lightning_modules.learner.batch_form import images_and_labels
from lightning_modules.learner.checks import check_pairs, validate_images
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear
from lightning_modules.learner.normalization import Normalization
from lightning_modules.learner.targets import check_influence_labels, warn_of_missing_classes

Source = DataLoader[Any] | Dataset[Any] | tuple[Tensor, Tensor] | Iterable[Any]
_BATCH = 256  # images of a data set at a time


def source_of(given: Source | None, data: Any) -> Source:
    """Return the influence set as it is given, or that of a data module; ValueError if there is neither."""
    if given is not None:
        return given
    if data is None or not hasattr(data, "influence_set"):
        raise ValueError(
            "learning a policy needs an influence set: expected a data module with influence_set() -> "
            f"(images, labels), found {type(data).__name__}."
        )
    images_and_labels: tuple[Tensor, Tensor] = data.influence_set()
    return images_and_labels


def gathered(source: Source, label_key: int | str | None = None) -> tuple[Tensor, Tensor]:
    """All images and labels of a source, as they are; ValueError if it has none, or is none. See `images_and_labels`.

    A source is two tensors, images and labels; more or a dictionary of them, of which `label_key` names the labels; a
    data set of such tuples or dictionaries; or a loader: anything that yields batches of them.
    """
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], Tensor):
        label_key = None  # two tensors are images and labels, however the labels of batches are found
    batches = [images_and_labels(batch, label_key) for batch in _batches(source)]
    if not batches or len(batches[0][1]) == 0:
        raise ValueError("the influence set is empty: give it at least one image of every class.")
    for pair in batches:
        check_pairs(*pair)
    found = {tuple(images.shape[1:]) for images, _ in batches}
    if len(found) > 1:
        raise ValueError(f"the images of the influence set have shapes {sorted(found)[:5]}: resize them to one.")
    images, labels = (torch.cat(column) for column in zip(*batches, strict=True))
    return images, labels


def _batches(source: Any) -> Iterator[Any]:
    """Batches of a source, see `gathered`."""
    if isinstance(source, str) or not (hasattr(source, "__iter__") or hasattr(source, "__getitem__")):
        raise ValueError(
            f"influence: expected tensors, a data set or a loader of images and labels, found a {type(source).__name__}"
            f" ({str(source)[:40]!r})."
        )
    first = source[0] if isinstance(source, Sequence) and source else None
    if isinstance(source, Mapping) or hasattr(first, "shape"):
        yield source
    elif hasattr(source, "__getitem__") and not _is_batch(first):
        try:
            yield from DataLoader(source, _BATCH)
        except (TypeError, RuntimeError) as error:
            raise ValueError(
                f"the influence set cannot be joined to batches ({error}): its images must be tensors of one size."
            ) from error
    else:
        yield from source


def _is_batch(part: Any) -> bool:
    """Return True for a batch of images, False for a sample."""
    parts = part.values() if isinstance(part, Mapping) else part if isinstance(part, Sequence) else ()
    return any(isinstance(one, Tensor) and one.ndim == 4 for one in parts)


def checked_pixels(images: Tensor, normalization: Normalization) -> Tensor:
    """Pixels in [0, 1] of the images of an influence set; ValueError if they are not what they should be."""
    validate_images(normalization.undone(images))
    return normalization.pixels(images)


def check_rereadable(source: Source | None) -> None:
    """Raise ValueError if a source can be read only once."""
    if isinstance(source, Iterator):
        raise ValueError("influence is read more than once, found an iterator: give a loader, or a list of batches.")


def classifier_of(
    model: nn.Module, normalization: Normalization, influence_set: tuple[Tensor, Tensor], loss: Loss
) -> FeatureCapture:
    """Find the head of a classifier, and check that the loss can take the labels of the influence set with it.

    The model maps normalized images to logits; pixels `[M, C, H, W]` and labels are on its device.

    Raises:
        ValueError: If the model does not end in a linear layer, or the labels do not fit its outputs and the loss.
    """
    images, labels = influence_set
    whole = model if normalization.is_identity else nn.Sequential(normalization, model)
    head = find_last_linear(whole, images[:2])
    check_influence_labels(labels, loss, head.out_features)
    warn_of_missing_classes(labels, head.out_features)
    return FeatureCapture(whole, head)


def moved_to(model: nn.Module, influence_set: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Images and labels on the device of a model, in the memory format of its kernels."""
    images, labels = influence_set
    parameters = list(model.parameters())
    device = parameters[0].device if parameters else images.device
    kernels = (weight for weight in parameters if weight.ndim == 4 and not weight.is_contiguous())
    last = any(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    memory_format = torch.channels_last if last else torch.contiguous_format
    return images.to(device).contiguous(memory_format=memory_format), labels.to(device)
