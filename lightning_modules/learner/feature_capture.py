"""The features of any classifier: the input of its last linear layer, caught by a forward hook.

Features are `[B, D]`, logits `[B, K]`, and `logits = features @ head.weight.T + head.bias`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.classifier.distinctive import TwinLinear


@dataclass
class Recording:
    """What the hook has seen: one pair of features `[B, D]` and logits `[B, K]` per pass through the head.

    It keeps the autograd graph of the passes alive for as long as it lives itself.
    """

    passes: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def features(self) -> Tensor:
        """Features of the latest pass, `[B, D]`."""
        return self._latest()[0]

    @property
    def logits(self) -> Tensor:
        """Logits of the latest pass, `[B, K]`, as the head gave them."""
        return self._latest()[1]

    def _latest(self) -> tuple[Tensor, Tensor]:
        if not self.passes:
            raise RuntimeError("nothing passed through the head while recording: call the model inside it.")
        return self.passes[-1]


class FeatureCapture:
    """Catches the features and logits of a model at its head.

    The hook is on the model only while something is recorded, so copies and checkpoints of the model
    never carry it. Nothing is detached: features and logits are differentiable in the images and the
    weights. Under autocast they keep the type that autocast gave them.

    Args:
        model: The classifier.
        head: Its last linear layer, as `find_last_linear` finds it.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> capture = FeatureCapture(model, find_last_linear(model, torch.zeros(2, 1, 2, 2)))
        >>> features, logits = capture(torch.rand(5, 1, 2, 2))
        >>> tuple(features.shape), tuple(logits.shape)
        ((5, 3), (5, 2))
        >>> with capture.recording() as seen:  # somebody else's forward
        ...     _ = model(torch.rand(7, 1, 2, 2))
        >>> tuple(seen.features.shape)
        (7, 3)
    """

    def __init__(self, model: nn.Module, head: nn.Linear) -> None:
        if not any(module is head for module in model.modules()):
            raise ValueError(f"head {head} is no layer of the model {type(model).__name__}: take one of its own.")
        self.model = model
        self.head = head

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run the model.

        Args:
            images: `[B, C, H, W]`.

        Returns:
            The features `[B, D]` and the model's logits `[B, K]`.
        """
        with self.recording() as seen:
            logits: Tensor = self.model(images)
        return seen.features, logits

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record every pass through the head that anybody makes inside the `with` block.

        A model under `torch.compile` runs uncompiled inside it: compiled code does not see a hook that was not there
        when it was compiled.
        """
        seen = Recording()
        handle = self.head.register_forward_hook(
            lambda _, args, kwargs, output: seen.passes.append((_input(args, kwargs), output)),
            with_kwargs=True,
        )
        try:
            with uncompiled():
                yield seen
        finally:
            handle.remove()


def uncompiled() -> AbstractContextManager[Any]:
    """Context in which what `torch.compile` has compiled runs as it is written; nothing inside compiled code itself."""
    return nullcontext() if torch.compiler.is_compiling() else torch.compiler.set_stance("force_eager")


def find_last_linear(model: nn.Module, example_images: Tensor) -> nn.Linear:
    """Find the linear layer whose output is the model's output.

    The model is run once, in evaluation mode and without gradients. Its buffers, the mode of every
    submodule and the random state are afterwards as they were, bit for bit.

    Args:
        model: The classifier.
        example_images: A few images `[B, C, H, W]` on the model's device.

    Returns:
        The layer; its input are the features.

    Raises:
        ValueError: When the model does not end in a linear layer on flat features, with what to do.
    """
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            calls.append((module, _input(args, kwargs), output.clone()))  # later layers may work in place

    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_hook(record, with_kwargs=True) for layer in layers]
    try:
        with _untouched(model), uncompiled(), torch.no_grad():
            logits = model(example_images)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        shape = tuple(example_images.shape)
        raise ValueError(f"the model cannot take images of shape {shape}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"the model must return logits [B, K], got {found}: wrap it so that it returns only them.")
    for layer, features, result in reversed(calls):
        if result.shape == logits.shape and torch.equal(result, logits):
            return _checked(layer, features, logits)
    raise ValueError(_why_none(logits, calls))


def _checked(layer: nn.Linear, features: Tensor, logits: Tensor) -> nn.Linear:
    """The layer, unless it has no bias or is a subclass that does something else than `features @ W.T + b`."""
    if layer.bias is None:
        raise ValueError(
            f"the last layer, {layer}, has no bias, and the influence moves weights and bias together: "
            "build the model with bias=True in its last layer."
        )
    if isinstance(layer, TwinLinear):
        return layer  # in evaluation it may be the mean of two linear layers: linear in the features too
    expected = nn.functional.linear(features, layer.weight, layer.bias)
    if not torch.allclose(expected, logits, rtol=1e-2, atol=1e-3 * float(logits.abs().max())):
        raise ValueError(
            f"the last layer, a {type(layer).__name__}, does not compute features @ weight.T + bias: "
            "replace it by a plain torch.nn.Linear."
        )
    return layer


def _why_none(logits: Tensor, calls: list[tuple[nn.Linear, Tensor, Tensor]]) -> str:
    """Why no linear layer gave the logits, and what to do."""
    if not calls:
        return "no torch.nn.Linear ran in the model (a final convolution?): end it in pooling and one."
    _, features, result = calls[-1]
    ones = torch.ones_like(logits[:, 0])
    if torch.allclose(logits.sum(dim=1), ones, atol=1e-4) and bool((logits >= 0).all()):
        return "the model returns probabilities, expected logits: take its final softmax out."
    if torch.allclose(logits.exp().sum(dim=1), ones, atol=1e-4):
        return "the model returns log-probabilities, expected logits: take its final log_softmax out."
    if features.ndim != 2:
        found = f"the input of the last torch.nn.Linear has shape {tuple(features.shape)}, expected [B, D]"
        return f"{found}: pool or flatten before it, not after."
    return (
        f"the model's output {tuple(logits.shape)} is not the output {tuple(result.shape)} of its last "
        "torch.nn.Linear: take out what comes after it, or end the model in a torch.nn.Linear."
    )


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards buffers, modes and the random state are what they were."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in modules
        for name, buffer in module.named_buffers(recurse=False)
    ]
    gpus = {tensor.device for tensor in model.parameters() if tensor.is_cuda}
    try:
        with torch.random.fork_rng(devices=list(gpus)):
            model.eval()
            yield
    finally:
        for module, name, buffer, value in buffers:
            setattr(module, name, buffer.copy_(value))
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The input of a linear layer, however it was called."""
    features: Tensor = args[0] if args else kwargs["input"]
    return features
