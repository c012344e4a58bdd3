"""The influence set of a training: read, checked, and put on the device in the classifier's memory format."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.callbacks.batch_form import images_and_labels
from lightning_modules.callbacks.normalization import Normalization
from lightning_modules.learner.checks import validate_images

Source = DataLoader[Any] | tuple[Tensor, Tensor]


def read_influence_set(source: Source | None, data: Any, normalization: Normalization) -> tuple[Tensor, Tensor]:
    """Read and check the influence set.

    Args:
        source: A loader, or two tensors; None takes that of the data.
        data: A data module with `influence_set() -> (images, labels)`, for a source of None.
        normalization: Of the images.

    Returns:
        Pixels `[M, C, H, W]` in [0, 1] and labels `[M]`.

    Raises:
        ValueError: If there is none, it is empty, or the images are not what they should be.
    """
    if source is None:
        if data is None or not hasattr(data, "influence_set"):
            raise ValueError(
                "learning a policy needs an influence set: expected a data module with influence_set() -> "
                f"(images, labels), found {type(data).__name__}."
            )
        batches = [data.influence_set()]
    else:
        batches = [source] if isinstance(source, tuple) else [images_and_labels(one) for one in source]
    if not batches or len(batches[0][1]) == 0:
        raise ValueError("the influence set is empty: give it at least one image of every class.")
    images, labels = (torch.cat(column) for column in zip(*batches, strict=True))
    validate_images(normalization.undone(images))
    return normalization.pixels(images), labels


def to_training_device(influence_set: tuple[Tensor, Tensor], trainer: pl.Trainer, module: pl.LightningModule) -> Any:
    """Move images and labels to the device, in the precision of the training and the memory format of the weights."""
    images, labels = trainer.precision_plugin.convert_input(influence_set)
    images, labels = images.to(module.device), labels.to(module.device)
    return images.contiguous(memory_format=_memory_format(module)), labels


def _memory_format(module: pl.LightningModule) -> torch.memory_format:
    kernels = (weight for weight in module.parameters() if weight.ndim == 4 and not weight.is_contiguous())
    last = any(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    return torch.channels_last if last else torch.contiguous_format
