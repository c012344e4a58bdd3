"""Cuts of images with several labels each that keep the share of every class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def stratified_parts(labels: NDArray[np.floating], sizes: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """Cut rows into parts in which each class has the share that it has in all of them, as far as possible.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011): the images of the rarest class that is left are
    dealt first. Unlike there, the sizes are kept exactly, a full part gets no more, and an image goes to the part that
    lacks most of all its classes and not of that one. Images without a label count as one more class.

    Args:
        labels: 0 or 1 for each row and class, `[N, K]`.
        sizes: Size of each part; their sum is N.
        seed: Seed of the order in which images are dealt.

    Returns:
        The row numbers of each part, in increasing order.
    """
    present = np.column_stack([labels > 0, ~(labels > 0).any(axis=1)])
    room, left = np.array(sizes), present.sum(axis=0)
    lacking = np.outer(room / max(len(labels), 1), left)  # [parts, K + 1], images of each class that a part should get
    order = np.random.default_rng(seed).permutation(len(labels))
    part_of = np.full(len(labels), -1)
    while left.any():
        rarest = int(np.where(left > 0, left, len(labels) + 1).argmin())
        for row in order[present[order, rarest] & (part_of[order] < 0)]:
            part = _neediest(lacking[:, present[row]], sizes, room)
            part_of[row] = part
            room[part] -= 1
            lacking[part, present[row]] -= 1
            left[present[row]] -= 1
    return [np.flatnonzero(part_of == part) for part in range(len(sizes))]


def _neediest(lacking: NDArray[np.floating], sizes: Sequence[int], room: NDArray[np.integer]) -> int:
    """Return the part to which an image belongs most, of several alike the one with most room; a full part is none.

    That is the part whose squared distances from the wanted counts of the image's classes fall most, for its size.
    `lacking` is `[parts, classes of the image]`.
    """
    falls = (2 * lacking - 1).sum(axis=1) / np.maximum(sizes, 1)
    needs = np.where(room > 0, falls.round(12), -np.inf)
    return int(np.lexsort((room, needs))[-1])
