"""Learning rate schedules of a classifier, and its parameter groups with and without weight decay."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from lightning_modules.learner.checks import check_numbers

LearningRateSchedule = Literal["one_cycle", "cosine", "multi_step", "constant"]

_RANGES = {  # of the settings of optimizers that are not in (0, 1): those of torch, by name
    "lr": "(0, 100]",
    "momentum": "[0, 1)",
    "dampening": "[0, 1]",
    "weight_decay": "[0, 100]",
    "eps": "[0, 1]",
    "alpha": "[0, 1]",
}


def check_steps(milestones: Sequence[float], factor: float) -> None:
    """Raise ValueError, naming the field, if milestones or factor of a multi-step schedule are out of range."""
    if not (milestones and all(0 < share < 1 for share in milestones)):
        raise ValueError(
            "lr_milestones are shares of the run, each in (0, 1): [0.5, 0.75] for epochs 150 and 225 of 300; found "
            f"{list(milestones)}."
        )
    if any(later <= earlier for earlier, later in pairwise(milestones)):
        raise ValueError(f"lr_milestones must increase, found {list(milestones)}.")
    check_numbers("", "(0, 1)", lr_factor=factor)


def check_optimizer(make: Callable[[Any], torch.optim.Optimizer], parameters: Any) -> None:
    """Raise ValueError if an optimizer cannot be made, or has settings that are no numbers or out of range."""
    try:
        optimizer = make(parameters)
    except ValueError as error:
        raise ValueError(f"optimizer: {error}") from error
    except TypeError as error:
        raise ValueError(
            f"optimizer: a setting is null, missing, or no number ({error}): give a number, or leave it out."
        ) from error
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise ValueError("optimizer SparseAdam is for sparse gradients, those of images are dense: take Adam.")
    for group in optimizer.param_groups:
        for name, interval in _RANGES.items():
            check_numbers("optimizer.", interval, **{name: group[name]} if name in group else {})
        if group.get("maximize"):
            raise ValueError("optimizer.maximize raises the loss that is to fall: leave it false.")
        if group.get("differentiable"):
            raise ValueError(
                "optimizer.differentiable keeps the graph of every step, for nothing here: leave it false."
            )
        for beta in group.get("betas", ()):
            check_numbers("optimizer.", "[0, 1)", betas=beta)


def make_scheduler(
    name: LearningRateSchedule,
    optimizer: torch.optim.Optimizer,
    steps: int,
    milestones: Sequence[float],
    factor: float,
) -> LRScheduler | None:
    """Make the learning rate schedule of a run of so many optimizer steps; None for a constant learning rate.

    It is stepped after every optimizer step, and the optimizer's learning rates are its highest. For `multi_step`:
    shares of the run after which the learning rate falls, to the nearest step, and the factor on it at each.
    """
    if name == "constant":
        return None
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if name == "multi_step":
        return MultiStepLR(optimizer, [round(share * steps) for share in milestones], gamma=factor)
    highest = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, max_lr=highest, total_steps=steps, cycle_momentum=False)


def check_length(scheduler: LRScheduler, steps: int) -> None:
    """Raise ValueError if a resumed schedule, which keeps its original length, ends before a run of so many steps."""
    length = {OneCycleLR: "total_steps", CosineAnnealingLR: "T_max"}.get(type(scheduler))
    planned = steps if length is None else getattr(scheduler, length)
    if planned < steps:
        raise ValueError(
            f"the learning rate of the checkpoint reaches zero after {planned} steps, and this run has {steps}: resume "
            "with the trainer.max_epochs and the data it began with, or begin a longer run anew."
        )


def is_finite(loss: Tensor | None, network: nn.Module) -> bool:
    """Return True if a loss and all weights of a network are finite; waits for them."""
    values = [*network.parameters()] if loss is None else [loss, *network.parameters()]
    return bool(torch.stack([value.detach().isfinite().all() for value in values]).all())


def kernels(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights of all convolutions and linear layers, each once, without biases and normalization layers."""
    layers = [module for module in network.modules() if isinstance(module, _ConvNd | nn.Linear)]
    found = {id(weight): weight for layer in layers for weight in layer.parameters() if weight.ndim > 1}
    return list(found.values())


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Return two groups for an optimizer: the kernels, with its weight decay, and all other parameters, without."""
    decayed = kernels(network)
    known = {id(weight) for weight in decayed}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
