"""Weighted means over rows that may be spread over the ranks of a process group.

Every mean of this room is `sum_i w_i x_i / sum_i w_i`; numerator and denominator are summed over the ranks,
so ranks may hold different numbers of rows, none included. Ranks must call in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def all_reduce_sum(tensor: Tensor, group: ProcessGroup | None) -> Tensor:
    """Sum `tensor` over the ranks of `group`; without a group return it as it is. Carries no gradient."""
    if group is None:
        return tensor
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


def mean_weights(
    weights: Tensor | None, rows: Tensor, group: ProcessGroup | None
) -> Tensor:  # [N], sum 1 over all ranks
    """Factors of a weighted mean: `w_i / sum_j w_j`, the sum running over the rows of all ranks.

    Args:
        weights: `[N]`, >= 0 and finite, at least one of them positive; `None` means all equal. Only ratios
            matter.
        rows: `[N, ...]`, gives the number of rows, the type and the device.
        group: Ranks that share the rows.

    Raises:
        ValueError: If the shape is wrong, a weight is negative or not finite, or no weight is positive.
    """
    if weights is None:
        weights = rows.new_ones(len(rows))
    if weights.shape != (len(rows),):
        raise ValueError(f"expected weights [{len(rows)}], found {list(weights.shape)}; pass one weight per sample")
    weights = weights.detach().to(rows)
    if not bool(((weights >= 0) & torch.isfinite(weights)).all()):
        raise ValueError("expected weights >= 0 and finite, found a negative or non-finite one; clamp them")
    total = all_reduce_sum(weights.sum(), group)
    if not bool(total > 0):
        raise ValueError(f"expected at least one positive weight, found a sum of {float(total)} over all rows")
    return weights / total
