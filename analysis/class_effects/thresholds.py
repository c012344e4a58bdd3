"""Thresholds of class effects; those of the paper are not published, so all are choices of this project."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of class effects.

    Args:
        co_occurrence: Least share of the images of a class with which another class co-occurs often.
        similarity: Least similarity of similar classes.
        significance: Rate of false discoveries among affected and among absorbing classes, in (0, 1).
    """

    co_occurrence: float = 0.02
    similarity: float = 0.3
    significance: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.significance < 1:
            raise ValueError(f"significance must lie in (0, 1), found {self.significance}; 0.05 is usual.")
