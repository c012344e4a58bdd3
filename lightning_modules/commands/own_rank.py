"""Rank of this process."""

from pytorch_lightning.utilities import rank_zero_only


def own_rank() -> int:
    """Return the rank of this process, also before there is a process group; 0 for a single process."""
    return int(getattr(rank_zero_only, "rank", 0))
