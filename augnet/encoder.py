"""The encoder of conditional policies, from an image and, optionally, its label to numbers."""

import torch
from torch import Tensor, nn

_GROWTH = (1, 2, 4, 8)  # of the channels, from one convolution to the next
_STRIDES = (1, 2, 2, 2)


class Encoder(nn.Module):
    """Four convolutions, global average pooling, and a linear layer that starts at zero.

    The convolutions, 4 x 4 with strides 1, 2, 2, 2, are those of Lee et al. (2020) for CIFAR; pooling in place of their
    flattening is this project's choice, so that images may have any size.

    Args:
        in_channels: Channels of the images.
        outputs: Number of outputs for each image.
        num_classes: Number K of classes of the labels, a second input; 0 for the image alone.
        width: Channels of the first convolution; 16 in the paper, 8 costs a quarter of it.
    """

    def __init__(self, in_channels: int, outputs: int, num_classes: int = 0, width: int = 8) -> None:
        super().__init__()
        channels = (in_channels, *(width * factor for factor in _GROWTH))
        self.body = nn.Sequential()
        for before, after, stride in zip(channels, channels[1:], _STRIDES, strict=False):
            self.body.extend([nn.Conv2d(before, after, 4, stride, padding=2), nn.ReLU()])
        self.num_classes = num_classes
        self.head = nn.Linear(channels[-1] + num_classes, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Encode images `[B, C, H, W]` in [0, 1], which carry gradient, to `[B, outputs]`; see `class_weights`.

        Raises:
            ValueError: If labels are needed and missing.
        """
        features = self.body(2 * images.to(self.head.weight) - 1).mean(dim=(2, 3))
        if self.num_classes:
            features = torch.cat([features, class_weights(labels, self.num_classes).to(features)], dim=1)
        result: Tensor = self.head(features)
        return result


def class_weights(labels: Tensor | None, num_classes: int) -> Tensor:
    """Return labels, `[B]` class numbers or `[B, K]` probabilities, as one row of K weights each, `[B, K]`, float32.

    Raises:
        ValueError: If there are no labels, or they do not fit the number of classes.
    """
    if labels is None:
        raise ValueError("this policy depends on the class: call it with the labels too, augment(images, labels).")
    if labels.is_floating_point():
        if labels.ndim != 2 or labels.shape[1] != num_classes:
            raise ValueError(f"expected probabilities of {num_classes} classes, found {tuple(labels.shape)}")
        return labels.float()
    lowest, highest = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if lowest < 0 or highest >= num_classes:
        raise ValueError(f"expected labels in 0..{num_classes - 1}, found {lowest}..{highest}")
    return nn.functional.one_hot(labels, num_classes).float()
