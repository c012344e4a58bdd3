"""The path from a solution to the image: the gradient of the influence in the pixels.

A small convolutional body (3 x 32 x 32 pixels, 128 features, 10 classes, frozen) and a given `S`. All rows return
d(influence)/d(pixels); they are checked against each other on two images.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.ihvp.peers import flat
from influence import upweight_influence

FEATURES, CLASSES = 128, 10
BATCH = {"augfluence": 64, "torch double backward": 64, "pyDVL Perturbation": 2}


class Net(nn.Module):
    """Three strided convolutions, mean pooling, last layer."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in ((3, 32), (32, 64), (64, FEATURES)):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).requires_grad_(False)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.fc(self.body(images))
        return logits


def _data(batch: int) -> tuple[Net, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    solution = torch.randn(CLASSES, FEATURES + 1)
    net = Net()
    return net, torch.rand(batch, 3, 32, 32), torch.randint(CLASSES, (batch,)), solution


def _closed_form(net: Net, images: Tensor, labels: Tensor, solution: Tensor) -> Tensor:
    images = images.clone().requires_grad_()
    features = net.body(images)
    influence = upweight_influence(solution, features, net.fc(features), labels)
    return torch.autograd.grad(influence.sum(), images)[0]


def _double_backward(net: Net, images: Tensor, labels: Tensor, solution: Tensor) -> Tensor:
    images = images.clone().requires_grad_()
    loss = F.cross_entropy(net(images), labels, reduction="sum")
    gradients = torch.autograd.grad(loss, [net.fc.weight, net.fc.bias], create_graph=True)
    product = (gradients[0] * solution[:, :-1]).sum() + (gradients[1] * solution[:, -1]).sum()
    return -torch.autograd.grad(product, images)[0]


def _pydvl(net: Net, images: Tensor, labels: Tensor, solution: Tensor) -> Tensor:
    from pydvl.influence import InfluenceMode
    from pydvl.influence.torch import CgInfluence

    loader: Any = DataLoader([(images, labels)], batch_size=None)  # type: ignore[arg-type]
    model = CgInfluence(net, F.cross_entropy, regularization=1.0).fit(loader)
    values = model.influences_from_factors(flat(solution)[None], images, labels, InfluenceMode.Perturbation)
    result: Tensor = -values[0]
    return result


ROWS: dict[str, Callable[[Net, Tensor, Tensor, Tensor], Tensor]] = {
    "augfluence": _closed_form,
    "torch double backward": _double_backward,
    "pyDVL Perturbation": _pydvl,
}


def measure(row: str, measured: Callable[[Callable[[], Any], float], dict[str, Any]], limit: float) -> dict[str, Any]:
    """Return seconds and memory per image, and the largest difference from the closed form on two images."""
    batch = BATCH[row]
    inputs = _data(batch)
    figures = measured(lambda: ROWS[row](*inputs), limit)
    reference = _closed_form(*inputs)
    difference = (figures.pop("result") - reference).abs().max() / reference.abs().max()
    return figures | {
        "batch": batch,
        "seconds": figures["seconds"] / batch,
        "megabytes": figures["megabytes"] / batch,
        "difference": float(difference),
    }
