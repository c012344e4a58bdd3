"""A classifier that can be looked through but not changed, and a policy that learns, each inside a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients inside; afterwards every flag is what it was.

    Gradients still flow through the model to its input. Batch statistics are not touched, nothing is accumulated in
    `parameter.grad`.

    Args:
        model: The model to freeze.
    """
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)


@contextmanager
def learning(policy: nn.Module) -> Iterator[None]:
    """Training mode and gradients for all parameters inside; afterwards the former mode and no gradients.

    Args:
        policy: The module that learns.
    """
    training = policy.training
    policy.train().requires_grad_(True)
    try:
        yield
    finally:
        policy.train(training).requires_grad_(False)
