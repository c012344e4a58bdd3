"""Which rows of a split an analysis looks at: drawn at random, since a split may lie in the order of its classes."""

import torch


def draw_rows(size: int, count: int, seed: int) -> list[int]:
    """Draw row numbers without repeating any.

    Args:
        size: Rows that there are.
        count: How many at most.
        seed: Seed of the draw.

    Returns:
        `min(size, count)` numbers below `size`, in the order in which they were drawn.
    """
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:count].tolist()
