"""Any loss that torch can differentiate twice, followed by autograd."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from influence.curvature import BlockCurvature
from influence.losses.base import Loss
from influence.precision import full_precision, upcast

_MOST_BLOCKS = 2**28  # numbers of the second derivatives of all rows: 1 GB in float32
_CLOSE = 1e-3


class AutogradLoss(Loss):
    """A loss function of logits `[B, K]` and targets, as a user trains with it.

    It must be a mean, or a sum, over the samples of a batch (any factor for the whole batch is allowed), or return one
    value for each sample; `check` finds out. Its second derivatives may have negative eigenvalues, as those of a focal
    loss: a solve then needs damping, see `influence.solve`.

    Args:
        function: Called as `function(logits, targets)`.
        name: For messages.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], name: str) -> None:
        self.function, self.name = function, name
        self._mean: bool | None = None  # False for a sum: found at the first call

    def expand(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Return the targets as they are."""
        if len(targets) != len(logits):
            raise ValueError(f"expected {len(logits)} targets, one for each row of logits, found {len(targets)}")
        return targets

    def mean(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss, a scalar."""
        total = self._call(logits, targets)
        return total if self._is_mean(logits, targets) else total / len(logits)

    def gradient(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss.gradient`."""
        (logits,) = upcast(logits)
        factor = len(logits) if self._is_mean(logits, targets) else 1
        with torch.enable_grad(), full_precision(logits):
            attached = logits.requires_grad
            variable = logits if attached else logits.detach().requires_grad_(True)
            try:
                (found,) = torch.autograd.grad(self._call(variable, targets), variable, create_graph=attached)
            except RuntimeError as error:
                raise ValueError(f"{self.name} cannot be differentiated in the logits: {error}") from error
        return factor * found

    def curvature(self, logits: Tensor, targets: Tensor | None, weights: Tensor) -> BlockCurvature:
        """See `Loss.curvature`; ValueError if the loss has none, or for more than 2^28 second derivatives."""
        if targets is None:
            raise ValueError(f"the curvature of {self.name} depends on the targets: give them")
        rows, classes = logits.shape
        if rows * classes**2 > _MOST_BLOCKS:
            raise ValueError(
                f"{self.name} is followed by autograd, which needs {rows} x {classes} x {classes} second derivatives: "
                "too many. Give fewer rows (hessian_rows), or a cross-entropy, which has a closed form."
            )
        self._check_separable(logits, targets)
        blocks = self._second_derivatives(logits, targets) * weights[:, None, None]
        if not bool(blocks.any()):
            raise ValueError(
                f"{self.name} has no curvature in the logits (is it piecewise linear?), and influence divides by it: "
                "train with a smooth loss."
            )
        return BlockCurvature(blocks)

    def right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return which decisions are right: by the largest logit for class numbers and distributions, else by sign."""
        if targets.ndim == 1 and logits.shape[1] > 1:
            return logits.argmax(dim=1) == targets
        targets = targets.view(len(logits), -1)
        if logits.shape[1] > 1 and torch.allclose(targets.sum(dim=1).float(), torch.ones(1).to(targets.device)):
            return logits.argmax(dim=1) == targets.argmax(dim=1)
        present, found = targets > 0.5, logits > 0
        return (found == present).flatten() if logits.shape[1] == 1 else found[present]

    @torch.no_grad()
    def _check_separable(self, logits: Tensor, targets: Tensor) -> None:
        """Raise ValueError unless the function is a mean or a sum over the rows, the same at every call."""
        logits = logits.detach()
        first, again = (float(self._call(logits, targets)) for _ in range(2))
        if not (math.isfinite(first) and first == again):
            raise ValueError(f"{self.name} returned {first:g} and then {again:g} for the same logits and targets.")
        if len(logits) < 2:
            return
        moved = logits.clone()
        moved[::2] += torch.linspace(1, 2, logits.shape[1], device=logits.device).to(logits)  # no mere shift
        before, after = (self.gradient(part, targets)[1::2] for part in (logits, moved))
        if not torch.allclose(before, after, rtol=_CLOSE, atol=_CLOSE * float(before.abs().max())):
            raise ValueError(
                f"{self.name} mixes the samples of a batch: the gradient at one changes with the logits of another, so "
                "it has no influence of its own. Give the part of the loss that is a mean over the samples."
            )

    def _call(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        try:
            value = self.function(logits.clone(), targets)  # it may work in place
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            shapes = f"logits {list(logits.shape)} and targets {list(targets.shape)} of {targets.dtype}"
            raise ValueError(f"{self.name} cannot take {shapes}: {error or type(error).__name__}") from error
        if not isinstance(value, Tensor) or (value.ndim > 0 and len(value) != len(logits)):
            found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{self.name} must return one number, or one for each sample, found {found}.")
        return value if value.ndim == 0 else value.flatten(1).mean(dim=1).mean() if value.ndim > 1 else value.mean()

    def _is_mean(self, logits: Tensor, targets: Tensor) -> bool:
        """Return True for a mean, which stays the same if every row is there twice, False for a sum, which doubles."""
        if self._mean is None:
            with torch.no_grad():
                logits = logits.detach()
                once, twice = (float(self._call(logits.repeat(n, 1), torch.cat([targets] * n))) for n in (1, 2))
            near = [abs(twice - n * once) <= _CLOSE * max(abs(twice), abs(once), 1e-6) for n in (1, 2)]
            if near[0] == near[1]:
                raise ValueError(
                    f"{self.name} is neither a mean nor a sum over the samples: it is {once:g} for a batch and "
                    f"{twice:g} where each sample is there twice."
                )
            self._mean = near[0]
        return self._mean

    def _second_derivatives(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return `[N, K, K]`, one row of all matrices at a time."""
        with torch.enable_grad(), full_precision(logits):
            variable = logits.detach().requires_grad_(True)
            try:
                gradient = self.gradient(variable, targets)
                columns = [
                    torch.autograd.grad(gradient[:, k].sum(), variable, retain_graph=True)[0]
                    for k in range(logits.shape[1])
                ]
            except RuntimeError as error:
                raise ValueError(f"{self.name} cannot be differentiated twice in the logits: {error}") from error
        blocks = torch.stack(columns, dim=1)
        return (blocks + blocks.mT) / 2
