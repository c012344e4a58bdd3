"""Input checks; every error says what was expected, what was found and what to do.

Axes: N or B rows (samples), D features, K classes.
"""

import torch
from torch import Tensor

from influence.precision import upcast

_HALF_ROW_SUM_TOLERANCE = 2e-2  # bfloat16 keeps 8 bits: a mixed row of three entries is off by this much
_ROW_SUM_TOLERANCE = 1e-3


def check_rows(features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Check `[N, D]` features against `[N, K]` logits and upcast both.

    Raises:
        ValueError: If a tensor is not a matrix, the numbers of rows differ, or there is no output.
        TypeError: If a tensor is not floating point.
    """
    if features.ndim != 2 or logits.ndim != 2:
        raise ValueError(
            f"expected features [N, D] and logits [N, K], found {list(features.shape)} and "
            f"{list(logits.shape)}; flatten the input of the last linear layer to one row per sample"
        )
    if len(features) != len(logits):
        raise ValueError(
            f"expected one logit row per feature row, found {len(logits)} and {len(features)}; "
            "take both from the same forward pass"
        )
    if logits.shape[1] < 1:
        raise ValueError(f"expected at least one output, found logits {list(logits.shape)}")
    features, logits = upcast(features, logits)
    return features, logits


def check_matrix(name: str, matrix: Tensor, shape: tuple[int, int]) -> None:
    """Check that `matrix` has the shape of the last layer.

    Raises:
        ValueError: If the shape differs.
    """
    if matrix.shape != shape:
        raise ValueError(
            f"expected {name} {list(shape)}, found {list(matrix.shape)}; it is [classes, features + 1], "
            "bias last, of the same last layer"
        )


def check_finite(name: str, *tensors: Tensor) -> None:
    """Check that no value is NaN or infinite.

    Raises:
        ValueError: If a value is not finite.
    """
    for tensor in tensors:
        # a finite sum has finite terms; every entry is read only where the sum is not finite
        if not bool(torch.isfinite(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"expected finite {name}, found NaN or infinity; skip this batch or lower the learning rate"
            )


def check_targets(targets: Tensor, logits: Tensor) -> Tensor:
    """Convert `[B]` int64 labels or `[B, K]` probabilities to `[B, K]` probabilities of the type of `logits`.

    The sum of a row may differ from 1 by 1e-3 (2e-2 in half precision); each row is divided by its sum.

    Raises:
        TypeError: If class indices are not int64.
        ValueError: If a shape does not match `logits`, a label is outside [0, K) or a row is no distribution.
    """
    if logits.shape[1] < 2:
        raise ValueError(
            f"expected at least 2 classes for cross-entropy, found {logits.shape[1]}; write a binary output as 2 "
            "logits, or train it with binary cross-entropy (BCEWithLogitsLoss)"
        )
    if targets.ndim == 1:
        return _one_hot(targets, logits)
    if targets.shape != logits.shape:
        raise ValueError(
            f"expected targets [{len(logits)}] or {list(logits.shape)}, found {list(targets.shape)}; "
            "pass class indices, or one probability per class"
        )
    tolerance = _ROW_SUM_TOLERANCE if targets.dtype.itemsize >= 4 else _HALF_ROW_SUM_TOLERANCE
    if not targets.is_floating_point():
        raise TypeError(f"expected floating point probabilities, found {targets.dtype}; convert with .float()")
    targets = targets.to(logits.dtype)
    fault = (targets.detach().sum(1) - 1).abs() > tolerance
    fault = fault | ~(targets.detach() >= 0).all(1)
    if bool(fault.any()):
        row = int(fault.nonzero()[0, 0])
        raise ValueError(
            f"expected rows of probabilities (>= 0, sum 1), found {targets[row].tolist()[:8]} in row {row}; "
            "divide each row by its sum, or pass class indices"
        )
    return targets / targets.sum(dim=1, keepdim=True)


def _one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    rows, classes = logits.shape
    if labels.dtype != torch.int64:
        raise TypeError(f"expected int64 class indices, found {labels.dtype}; convert with .long()")
    if len(labels) != rows:
        raise ValueError(f"expected {rows} labels, one per logit row, found {len(labels)}; align the batch")
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise ValueError(
            f"expected labels in [0, {classes}), found [{int(labels.min())}, {int(labels.max())}]; "
            "remap them, or give the last layer one output per class"
        )
    return torch.nn.functional.one_hot(labels, classes).to(logits.dtype)


def decay_per_column(weight_decay: float | Tensor, rows: Tensor) -> Tensor:
    """Return the weight decay `[D+1]` of each column of `rows`; a number applies to all but the last one, the bias.

    Raises:
        ValueError: If a tensor is not `[D+1]`, or a value is negative or not finite.
    """
    columns = rows.shape[1]
    if isinstance(weight_decay, Tensor):
        decay = weight_decay.detach().to(rows)
        if decay.shape != (columns,):
            raise ValueError(
                f"expected weight_decay as a number or [{columns}], found {list(decay.shape)}; "
                "give one value per column"
            )
    else:
        decay = torch.cat([rows.new_full((columns - 1,), weight_decay), rows.new_zeros(1)])
    if not bool(((decay >= 0) & torch.isfinite(decay)).all()):
        raise ValueError(f"expected weight_decay >= 0 and finite, found {weight_decay}; use 0 for none")
    return decay


def normalized_weights(weights: Tensor | None, rows: Tensor) -> Tensor:
    """Divide the weights of `rows` `[N, ...]` by their sum: `[N]` of sum 1, detached; `None` gives `1/N` each.

    Raises:
        ValueError: If the shape is not `[N]`, a weight is negative or not finite, or no weight is positive.
    """
    if weights is None:
        weights = rows.new_ones(len(rows))
    if weights.shape != (len(rows),):
        raise ValueError(f"expected weights [{len(rows)}], found {list(weights.shape)}; pass one weight per sample")
    weights = weights.detach().to(rows)
    if not bool(((weights >= 0) & torch.isfinite(weights)).all()):
        raise ValueError("expected weights >= 0 and finite, found a negative or non-finite one; clamp them")
    total = weights.sum()
    if not bool(total > 0):
        raise ValueError(f"expected at least one positive weight, found a sum of {float(total)} over all rows")
    return weights / total
