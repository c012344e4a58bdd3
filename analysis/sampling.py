"""Random choice of the rows of a split, which may be sorted by class."""

import torch


def draw_rows(size: int, count: int, seed: int) -> list[int]:
    """Draw row numbers without repetition.

    Args:
        size: Number of rows.
        count: Upper bound of the numbers drawn.
        seed: Seed of the draw.

    Returns:
        `min(size, count)` numbers below `size`, in the order in which they were drawn.
    """
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:count].tolist()
