"""Selection of the past inputs that a K-prior keeps in memory.

Axes: N past inputs, M of them in the memory, K classes. Source: docs/method.md, "K-priors".
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Selection = Literal["top", "random", "weighted"]


class Memory(NamedTuple):
    """Rows of the past data and their weights.

    Attributes:
        rows: `[M]` int64, each at most once, in increasing order.
        weights: `[M]`, float64, the number of past inputs that each represents.
    """

    rows: Tensor
    weights: Tensor


def uncertainty(probs: Tensor) -> Tensor:
    """Return `sum_c p_c (1 - p_c)`, the trace of the derivative of the probabilities `[N, K]` in the logits.

    `[N]` in [0, 1 - 1/K]; 0 for a prediction of probability 1.

    Example:
        >>> uncertainty(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist()
        [0.0, 0.5]
    """
    return (probs * (1 - probs)).sum(dim=1)


def select_memory(
    probs: Tensor, size: int, selection: Selection = "weighted", generator: torch.Generator | None = None
) -> Memory:
    """Select a memory; Khan and Swaroop (2021) take the most uncertain inputs.

    For logistic regression the weighted random memory reproduces retraining best: the mean error of the probabilities
    with a memory of 10 % is 0.006, against 0.025 for "top" and 0.036 for "random"
    (`studies/results/k_priors_glm.md`).

    Args:
        probs: `[N, K]`, predictions of the old model on the past inputs; only "top" reads the values.
        size: M, 1 to N.
        selection: "top" takes the inputs of the highest `uncertainty`, with weight 1; "random" draws uniformly, with
            weight 1; "weighted" draws uniformly, with weight N/M, which makes the sum over the memory an unbiased
            estimate of the sum over all past inputs.
        generator: Generator of the draw; by default torch's.

    Raises:
        ValueError: If `size` is out of range or there is no such selection.
    """
    count = len(probs)
    if not 1 <= size <= count:
        raise ValueError(f"expected a memory of 1 to {count} inputs, found {size}; a tenth of them is usual")
    if selection not in get_args(Selection):
        raise ValueError(f"expected selection {', '.join(get_args(Selection))}, found {selection!r}")
    if selection == "top":
        rows = uncertainty(probs).argsort(descending=True, stable=True)[:size]
    else:
        rows = torch.randperm(count, generator=generator)[:size]
    weight = count / size if selection == "weighted" else 1.0
    return Memory(rows.sort().values.cpu(), torch.full((size,), weight, dtype=torch.float64))
