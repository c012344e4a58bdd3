"""The classifier as the learner uses it: frozen, with the features at the input of its last linear layer recorded.

Features are `[B, D]`, logits `[B, K]`, and `logits = features @ head.weight.T + head.bias`.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Recording:
    """Features `[B, D]` and logits `[B, K]` of each pass through the head.

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
    """Records the features and logits of a model at its head.

    The hook is on the model only while something is recorded, so copies and checkpoints of the model never carry it.
    Features and logits are differentiable in images and weights. Under autocast they keep the type that it gave them.

    Args:
        model: The classifier.
        head: Its last linear layer, as `find_last_linear` finds it.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> capture = FeatureCapture(model, model[-1])
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
        """Run the model on images `[B, C, H, W]`: features `[B, D]` and logits `[B, K]`, as the head gave them.

        Raises:
            ValueError: If no pass through the head gave what the model returned, see `find_last_linear`: the model is
                another one by now.
        """
        with self.recording() as seen:
            output = logits_of(self.model(images))
        for features, logits in reversed(seen.passes):
            if is_output(logits, output):
                return features, logits
        raise ValueError(
            f"the model no longer returns the output of its last layer {self.head}, as it did at first: that layer was "
            "replaced, or what comes after it changes its output by now (an adapter, a learned scale). Change the "
            "model before, and end it in the torch.nn.Linear."
        )

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record every pass through the head that anybody makes inside the `with` block.

        A model under `torch.compile` runs uncompiled inside it: compiled code does not see a hook that was not there
        when it was compiled.
        """
        seen = Recording()
        handle = self.head.register_forward_hook(
            lambda _, args, kwargs, output: seen.passes.append((input_of(args, kwargs), output)),
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


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients inside; afterwards every flag is what it was.

    Gradients still flow through the model to its input. Batch statistics are not touched, nothing is accumulated in
    `parameter.grad`.
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


def is_output(logits: Tensor, output: Any) -> bool:
    """Return True if the logits of a linear layer are what the model returned, in any precision and of any shape.

    A loop or a wrapper may squeeze or convert them. Values that are not finite are the same where both are.
    """
    if not isinstance(output, Tensor) or output.numel() != logits.numel():
        return False
    logits = logits.detach().to(output.dtype).view_as(output)
    return bool(((logits == output.detach()) | (logits.isnan() & output.isnan())).all())


def logits_of(output: Any) -> Any:
    """The logits in what a model returned: the `logits` of a dictionary or an object that has them, else all of it."""
    if isinstance(output, Mapping):
        return output.get("logits", output)
    return getattr(output, "logits", output)


def input_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The input of a linear layer, however it was called."""
    features: Tensor = args[0] if args else kwargs["input"]
    return features
