"""Predicted against refitted change of the validation loss when real images are replaced by augmented ones.

The features are those of a small network trained here; the replacements are the same images shifted and mirrored, or
shifted alone for digits: a moderate change, as an augmentation policy makes it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from refitted_changes import replacement_changes
from torch import Tensor, nn

from augnet.baselines import FlipCrop
from influence import Samples
from lightning_modules.data import DigitsDataModule, ImageDataModule, LabelledImages

pytestmark = pytest.mark.slow

CIFAR10 = Path(__file__).parents[3] / "shared" / "data" / "cifar10"


def trained(images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    """A convolutional body with 32 features, fitted with a linear head."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for narrow, wide in ((images.shape[1], 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.ReLU()]
        body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        head = nn.Linear(32, 10)
        optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=5e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(64):
                loss = F.cross_entropy(head(body(images[rows])), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return body.eval()


def splits(data: DigitsDataModule | ImageDataModule) -> Iterator[tuple[Tensor, Tensor]]:
    for part in (data.splits.train, data.splits.influence):
        yield _read(part)


def _read(part: LabelledImages) -> tuple[Tensor, Tensor]:
    images, labels = part.everything()
    return images[:1000], labels[:1000]


def correlation(data: DigitsDataModule | ImageDataModule, policy: FlipCrop, epochs: int) -> float:
    (images, labels), (held_out, held_out_labels) = splits(data)
    body = trained(images, labels, epochs)
    chosen = torch.arange(40)
    augmented = policy.train()(images[chosen], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features, others, replaced = (body(part).double() for part in (images, held_out, augmented))
    scale = features.std()
    found = replacement_changes(
        Samples(features / scale, labels),
        Samples(others / scale, held_out_labels),
        Samples(replaced / scale, labels[chosen]),
        chosen,
        10,
        weight_decay=0.01,
    )
    assert float(found.measured.abs().max()) > 0
    return found.pearson


def test_digits_replaced_by_shifted_ones() -> None:
    data = DigitsDataModule(image_size=16)
    assert correlation(data, FlipCrop(padding=0.0625, flip=0.0), epochs=5) >= 0.97


@pytest.mark.skipif(not CIFAR10.is_dir(), reason=f"needs the CIFAR-10 parquet files in {CIFAR10}")
def test_photographs_replaced_by_shifted_and_mirrored_ones() -> None:
    data = ImageDataModule(str(CIFAR10), train_size=1000, influence_size=400, val_size=100)
    assert correlation(data, FlipCrop(), epochs=8) >= 0.97
