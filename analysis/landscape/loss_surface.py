"""The unaugmented training loss of a trained classifier as a function of its weights, and its batch gradients.

The network is in evaluation mode: batch normalization uses its running statistics, so the loss of a batch is the mean
of the losses of single images, as the formulas of gradient noise require.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import LabelledImages

from ..sampling import draw_rows
from .directions import Tensors, filter_norms

_CHUNK = 512


@dataclass(frozen=True)
class LossSurface:
    """Cross-entropy (labels as they are, no smoothing) on some training images."""

    model: Classifier  # on its device, in evaluation mode; not changed
    images: Tensor  # [N, C, H, W] in [0, 1]
    labels: Tensor  # [N]

    @classmethod
    def of(cls, model: Classifier, train: LabelledImages, count: int, seed: int) -> "LossSurface":
        """Return the surface on `count` training images drawn at random, or on all if they are fewer."""
        images, labels = train.__getitems__(draw_rows(len(train), count, seed))
        return cls(model, images, labels)

    @torch.no_grad()
    def loss(self, weights: Tensors) -> float:
        """Return the mean loss with these weights, by name, in place of those of `model.network`."""
        chunks = range(0, len(self.labels), _CHUNK)
        total = sum(float(self._loss(weights, slice(start, start + _CHUNK), "sum").double()) for start in chunks)
        return total / len(self.labels)

    def gradients(self, batch_size: int) -> Iterator[Tensors]:
        """Yield the gradient of each full batch by name, for all parameters of the network."""
        parameters = {
            name: parameter.detach().requires_grad_() for name, parameter in self.model.network.named_parameters()
        }
        for start in range(0, len(self.labels) - batch_size + 1, batch_size):
            loss = self._loss(parameters, slice(start, start + batch_size), "mean")
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
            yield dict(zip(parameters, found, strict=True))

    def _loss(self, weights: Tensors, rows: slice, reduction: str) -> Tensor:
        device = self.model.device
        images = self.images[rows].to(device).contiguous(memory_format=self.model.memory_format)
        logits = functional_call(self.model.network, weights, (images,))
        return nn.functional.cross_entropy(logits, self.labels[rows].to(device), reduction=reduction)


def flat(tensors: Tensors) -> Tensor:
    """Return all entries as one vector."""
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def in_filter_units(gradient: Tensors, weights: Tensors) -> Tensors:
    """Return the gradient with respect to weights in units of their filters' norms: `||w_f||` times the gradient.

    It is invariant to the scale of a filter in front of a normalization. Multiplying the gradient is this project's
    reading of the paper's "filter-normalized". Parameters without weights of two or more axes are left out.
    """
    return {name: gradient[name] * filter_norms(weight) for name, weight in weights.items()}
