"""The head of a classifier: the linear layer that its output comes from."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.learner.feature_capture import FeatureCapture, frozen, input_of, is_output, logits_of, uncompiled


def find_last_linear(model: nn.Module, example_images: Tensor) -> nn.Linear:
    """Find the linear layer whose output is the model's output.

    The model is run once on a few images, in evaluation mode and without gradients, and is afterwards as it was, bit
    for bit. It returns logits `[B, K]`, or a dictionary or an object with `logits`; the layer's input are the features.

    Raises:
        ValueError: When the model does not end in a linear layer on flat features, with what to do.
    """
    _check_whole(model)
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            calls.append((module, input_of(args, kwargs), output.clone()))  # later layers may work in place

    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_hook(record, with_kwargs=True) for layer in layers]
    try:
        with untouched(model), uncompiled(), torch.no_grad():
            output = model(example_images)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        shape = tuple(example_images.shape)
        raise ValueError(f"the model cannot take images of shape {shape}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    logits = logits_of(output)
    if isinstance(logits, Tensor) and logits.ndim == 1 and len(logits) == len(example_images):
        logits = logits[:, None]  # one output, squeezed as binary cross-entropy takes it
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(
            f"the model must return logits [B, K], got {found}: wrap it so that it returns only them, or a dictionary "
            'or an object with "logits".'
        )
    if not bool(logits.isfinite().all()):
        raise ValueError("the model returns NaN or infinite logits for images of the influence set: check its weights.")
    for layer, features, result in reversed(calls):
        if result.shape == logits.shape and is_output(result, logits):
            return _checked(layer, features, result)
    raise ValueError(_why_none(logits, calls))


def _check_whole(model: nn.Module) -> None:
    """Raise ValueError if this process holds no more than a part of the model's weights, or none of its layers."""
    for part in model.modules():
        kinds = {kind.__name__ for kind in type(part).__mro__}
        if kinds & {"FullyShardedDataParallel", "DeepSpeedEngine"} or (
            isinstance(part, nn.DataParallel) and len(part.device_ids) > 1
        ):
            raise ValueError(
                f"the model is wrapped in {type(part).__name__}, and no process runs its last layer as a whole: train "
                "it on one device, or in DistributedDataParallel."
            )
        if isinstance(part, torch.jit.ScriptModule):
            raise ValueError("the model is compiled by TorchScript, whose layers cannot be watched: give it as it was.")
    if any(type(parameter).__name__ == "DTensor" for parameter in model.parameters()):
        raise ValueError(
            "the weights of the model are divided among processes (fully_shard, tensor parallel): train it on one "
            "device, or in DistributedDataParallel."
        )


def _checked(layer: nn.Linear, features: Tensor, result: Tensor) -> nn.Linear:
    """The layer, unless it has no bias or is a subclass that does something else than `features @ W.T + b`."""
    if layer.bias is None:
        raise ValueError(
            f"the last layer, {layer}, has no bias, and the influence moves weights and bias together: "
            "build the model with bias=True in its last layer."
        )
    if getattr(layer, "linear_in_features", False):
        return layer  # a head type that says so itself, see `lightning_modules.classifier.distinctive`
    operands = (operand.to(result.dtype) for operand in (features, layer.weight, layer.bias))  # as autocast does
    expected = nn.functional.linear(*operands)
    if not torch.allclose(expected, result, rtol=1e-2, atol=1e-3 * float(result.abs().max())):
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


def check_gradient(capture: FeatureCapture, images: Tensor) -> None:
    """Raise ValueError unless the features of images `[B, C, H, W]` carry gradient to them; warn if it is zero.

    A policy that learns through its images needs it. The model is run once and left as it was.
    """
    with untouched(capture.model), torch.inference_mode(False), torch.enable_grad():
        inputs = images.clone().requires_grad_()
        features, _ = capture(inputs)
        if not features.requires_grad:
            raise ValueError(
                "no gradient leads from the classifier's last layer to its images (a backbone under torch.no_grad, or "
                "features that are detached): freeze the backbone by requires_grad_(False) instead, or take policy "
                "mixture, which learns without gradients of the images."
            )
        direction = torch.randn_like(features)
        (gradient,) = torch.autograd.grad((features * direction).sum(), inputs, allow_unused=True)
    if gradient is None or not bool(gradient.any()):
        warnings.warn(
            "the gradient of the classifier's features with respect to its images is zero (does it round them, or are "
            "its layers dead?): ranges cannot be learned from it; policy mixture can.",
            stacklevel=2,
        )


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """`frozen` inside; afterwards buffers and the random state are what they were, too."""
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    gpus = {tensor.device for tensor in model.parameters() if tensor.is_cuda}
    try:
        with torch.random.fork_rng(devices=list(gpus)), frozen(model):
            yield
    finally:
        for module, name, buffer, value in buffers:
            setattr(module, name, buffer.copy_(value))
