"""The multi-step schedule against rates computed by hand, and which parameters decay."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from toys import CLASSES, ToyData, toy_trainer

from lightning_modules.classifier.classifier import Classifier
from lightning_modules.classifier.optimization import kernels, parameter_groups

SGD = partial(torch.optim.SGD, lr=0.1, weight_decay=0.5)


def classifier(**arguments: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(num_classes=CLASSES, in_channels=1, **{"model": "toys.ToyNet", **arguments})


class Everything(nn.Module):
    """Kernels of four kinds, one of them used twice, one re-parametrised; and all that has no kernel."""

    def __init__(self, num_classes: int = CLASSES, in_channels: int = 1) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 3))
        self.convolution = nn.utils.parametrizations.weight_norm(nn.Conv2d(in_channels, 4, 3))
        self.up = nn.ConvTranspose2d(4, 4, 2)
        self.norms = nn.Sequential(nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.PReLU())
        self.table = nn.Embedding(5, 4)
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, num_classes)


KERNELS = {
    "convolution.parametrizations.weight.original0",
    "convolution.parametrizations.weight.original1",
    "up.weight",
    "first.weight",
    "head.weight",
}


def test_kernels_are_the_weights_of_convolutions_and_linear_layers() -> None:
    network = Everything()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = [names[id(weight)] for weight in kernels(network)]
    assert sorted(found) == sorted(KERNELS)  # the shared one once


def test_two_groups_hold_every_parameter_once() -> None:
    network = Everything()
    decayed, others = SGD(parameter_groups(network)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    both = [id(parameter) for group in (decayed, others) for parameter in group["params"]]
    assert sorted(both) == sorted(id(parameter) for parameter in network.parameters())
    assert {id(parameter) for parameter in decayed["params"]} == {id(weight) for weight in kernels(network)}


@pytest.mark.parametrize("kernels_only", [True, False])
@pytest.mark.parametrize(
    "optimizer", [SGD, partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5), lambda parameters: SGD(parameters)]
)
def test_without_a_gradient_kernels_shrink_and_the_rest_stays(kernels_only: bool, optimizer: Any) -> None:
    """A step of SGD or AdamW with decay 0.5 at the rate 0.1 takes 5 % off what decays."""
    model = classifier(optimizer=optimizer, lr_schedule="constant", decay_kernels_only=kernels_only)
    made = model.configure_optimizers()
    before = {name: value.clone() for name, value in model.network.named_parameters()}
    for parameter in model.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    for name, value in model.network.named_parameters():
        shrinks = not kernels_only or name in ("1.body.1.weight", "1.head.weight")
        torch.testing.assert_close(value, before[name] * (0.95 if shrinks else 1.0))


def rates(model: Classifier, **arguments: Any) -> list[list[float]]:
    """The rate of each group of the optimiser before every batch."""
    found: list[list[float]] = []
    model.network.register_forward_hook(
        lambda network, args, output: found.append([g["lr"] for g in model.trainer.optimizers[0].param_groups])
    )
    toy_trainer(max_epochs=5, limit_val_batches=0, **arguments).fit(model, datamodule=ToyData())
    return found


@pytest.mark.parametrize("kernels_only", [True, False])
def test_rate_falls_at_its_milestones(kernels_only: bool) -> None:
    """Five epochs of four steps: 0.1 for 30 % of 20 steps, then a fifth of it up to 75 %, then a fifth of that."""
    model = classifier(
        optimizer=SGD,
        lr_schedule="multi_step",
        lr_milestones=[0.3, 0.75],
        lr_factor=0.2,
        decay_kernels_only=kernels_only,
    )
    found = rates(model)
    expected = [0.1] * 6 + [0.02] * 9 + [0.004] * 5
    for group in zip(*found, strict=True):
        assert list(group) == pytest.approx(expected)
    assert len(found[0]) == (2 if kernels_only else 1)


def test_milestones_count_steps_of_the_optimiser() -> None:
    """With two batches a step there are ten steps; the milestone at 45 % is the fourth, to the nearest even number."""
    model = classifier(optimizer=SGD, lr_schedule="multi_step", lr_milestones=[0.45], lr_factor=0.5)
    found = [rate for (rate,) in rates(model, accumulate_grad_batches=2)]
    assert found == pytest.approx([0.1] * 8 + [0.05] * 12)


def test_milestones_of_a_run_too_short_for_them() -> None:
    """All fall together at the start or the end, and the last rate is the same."""
    model = classifier(optimizer=SGD, lr_schedule="multi_step", lr_milestones=[0.6, 0.7], lr_factor=0.1)
    rates(model, limit_train_batches=1, max_steps=1)
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.001)


def test_one_cycle_has_a_peak_for_each_group() -> None:
    model = classifier(optimizer=SGD, lr_schedule="one_cycle", decay_kernels_only=True)
    first, second = zip(*rates(model), strict=True)
    assert list(first) == list(second)
    assert max(first) == pytest.approx(0.1)


def test_resumed_optimiser_keeps_its_groups(tmp_path: Any) -> None:
    model = classifier(optimizer=SGD, lr_schedule="multi_step", decay_kernels_only=True)
    trainer = toy_trainer(max_epochs=3, limit_val_batches=0)
    trainer.fit(model, datamodule=ToyData())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed = classifier(optimizer=SGD, lr_schedule="multi_step", decay_kernels_only=True)
    again = toy_trainer(max_epochs=3, limit_val_batches=0)
    again.fit(resumed, datamodule=ToyData(), ckpt_path=tmp_path / "last.ckpt")
    groups = again.optimizers[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert [group["lr"] for group in groups] == [group["lr"] for group in trainer.optimizers[0].param_groups]
