"""Random choice of the rows of a split, which may be sorted by class."""

import torch


def draw_rows(size: int, count: int, seed: int) -> list[int]:
    """Draw `min(size, count)` different row numbers below `size`, in the order in which they are drawn."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:count].tolist()
