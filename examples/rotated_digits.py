"""The task of the examples: handwritten digits of scikit-learn, trained upright, deployed rotated."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import rotate


def rotated_digits(size: int = 16, seed: int = 0) -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Return 1,000 upright digits to train with, and 200 and 597 rotated ones: the influence set and the test.

    Args:
        size: Side of the images, in pixels; they are `[1, size, size]` in [0, 1].
        seed: Of the split and of the angles, which are uniform in +-45 degrees.
    """
    data, generator = load_digits(), torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.target), generator=generator)
    images = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)[order]
    images = nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)
    labels, angles = torch.tensor(data.target)[order], 90 * torch.rand(len(order), generator=generator) - 45
    turned = torch.stack([rotated(*pair) for pair in zip(images, angles, strict=True)])
    return (
        TensorDataset(images[:1000], labels[:1000]),
        TensorDataset(turned[1000:1200], labels[1000:1200]),
        TensorDataset(turned[1200:], labels[1200:]),
    )


def rotated(image: Tensor, angle: Tensor) -> Tensor:
    """Return an image turned by an angle in degrees, black outside."""
    result: Tensor = rotate(image, float(angle), InterpolationMode.BILINEAR)
    return result


def small_network() -> nn.Sequential:
    """Return four convolutions with batch normalization, average pooling, and a linear layer for ten classes."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((1, 8, 1), (8, 16, 2), (16, 32, 2), (32, 64, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@torch.no_grad()
def accuracy(model: nn.Module, data: TensorDataset, mean: float = 0.0, std: float = 1.0) -> float:
    """Return the accuracy of a model on normalized images; afterwards the model is in training mode."""
    images, labels = data.tensors
    output = model.eval()((images - mean) / std)
    model.train()
    return float((getattr(output, "logits", output).argmax(dim=1) == labels).float().mean())
