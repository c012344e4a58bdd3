"""Our rows: fixed policies, the learnable one, and a training step to set them against."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from augnet import AugNet, MixturePolicy
from augnet.baselines import BASELINES, MixingBaseline, make_baseline
from augnet.classic import classic_space
from augnet.ops import OPS, ColorOp, SpatialOp
from benchmarks.augment.cases import Case

LEARNABLE = tuple(name for name, op in OPS.items() if isinstance(op, (SpatialOp, ColorOp)))
STEP = "WRN-16-1 training step, bf16, channels last"
Call = Callable[[], Any]


def fixed(name: str) -> Callable[[Case], Call]:
    """Return a baseline on the whole batch, float32."""

    def make(case: Case) -> Call:
        baseline = make_baseline(name)
        if isinstance(baseline, MixingBaseline):
            return lambda: baseline(case.images, case.labels)
        return lambda: baseline(case.images)

    return make


def ranges_forward(case: Case) -> Call:
    """Return the range policy with all spatial and color ops, as a batch is augmented for the classifier."""
    net = AugNet.from_ops(LEARNABLE, initial=0.5)
    return torch.no_grad()(lambda: net(case.images))


def mixture_forward(case: Case) -> Call:
    """Return the mixture that starts as TrivialAugment-Wide, as a batch is augmented for the classifier."""
    net = AugNet(classic_space(), MixturePolicy.trivial_augment())
    return torch.no_grad()(lambda: net(case.images))


def ranges_backward(case: Case) -> Call:
    """Return the range policy with the gradient back to its half-widths."""
    net = AugNet.from_ops(LEARNABLE, initial=0.5)
    direction = torch.randn(case.images.shape, generator=torch.Generator().manual_seed(1))
    return lambda: net(case.images).backward(direction)


def training_step(case: Case) -> Call:
    """Return a step: forward, backward and SGD of a WRN-16-1 on the batch."""
    from pytorchcv.models.wrn_cifar import get_wrn_cifar

    network = get_wrn_cifar(num_classes=10, blocks=16, width_factor=1).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images, labels = case.images.contiguous(memory_format=torch.channels_last), case.labels.argmax(1)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


ROWS: dict[str, Callable[[Case], Call]] = {
    **{name: fixed(name) for name in (*BASELINES, "flip_crop+trivial_augment")},
    "mixture from TrivialAugment, forward": mixture_forward,
    "ranges, forward": ranges_forward,
    "ranges, forward + backward": ranges_backward,
}
