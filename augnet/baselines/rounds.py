"""One round of the classic ops on a batch, each image by its own row of magnitudes."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from augnet.classic import classic_space
from augnet.ops.spatial import Interpolation
from augnet.space import TransformSpace


@lru_cache(maxsize=4)
def _space(interpolation: Interpolation, colored: bool) -> tuple[TransformSpace, list[int]]:
    """Return the classic space and the columns to keep, all if empty; gray images have no saturation."""
    space = classic_space(interpolation)
    kept = {name: bound for name, bound in zip(space.names, space.bounds, strict=True) if name != "saturation"}
    names = list(space.names)
    return (space, []) if colored else (TransformSpace(kept, interpolation), [names.index(name) for name in kept])


def apply_round(images: Tensor, rows: Tensor, interpolation: Interpolation = "nearest") -> Tensor:
    """Transform each image by its row.

    Args:
        images: `[B, C, H, W]` in [0, 1], C = 3 or 1; carries gradient. With one channel `color` changes nothing, as
            in torchvision.
        rows: `[B, P]`, magnitudes in `classic_space()`.
        interpolation: Of the geometric ops.

    Raises:
        ValueError: If the images have neither three channels nor one, or are integers.
    """
    space, columns = _space(interpolation, images.shape[1] != 1)
    return space.apply(images, rows[:, columns] if columns else rows)
