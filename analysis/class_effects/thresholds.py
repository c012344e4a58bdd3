"""Where lines are drawn; those of the paper are not known, all of these are this project's choice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Where lines are drawn.

    Args:
        vote_share: Share of the votes from which on a class is a right answer for an image, in (0, 1].
        co_occurrence: Share of the images of a class from which on another class co-occurs often.
        similarity: Similarity from which on two classes are similar.
        significance: Rate of false discoveries among affected and among absorbing classes, in (0, 1).
    """

    vote_share: float = 0.1
    co_occurrence: float = 0.02
    similarity: float = 0.3
    significance: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.vote_share <= 1:
            raise ValueError(f"vote_share must lie in (0, 1], found {self.vote_share}.")
        if not 0 < self.significance < 1:
            raise ValueError(f"significance must lie in (0, 1), found {self.significance}; 0.05 is usual.")
