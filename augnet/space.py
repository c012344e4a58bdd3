"""A transform space: which ops, in which order, how strong at most; applies them fused.

All geometry is composed into one matrix and one resampling, all linear colour into one matrix per image. The order is
that of `augnet.ops.OPS`, whatever the order in which the names are given: rotation, translation, scale, aspect,
shear, then brightness, contrast, saturation, hue. The result is clamped to [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from augnet.ops import OPS, ColourOp, SpatialOp, find_op
from augnet.ops.colour import compose, recolour
from augnet.ops.spatial import warp


class TransformSpace:
    """A set of ops with their bounds.

    Args:
        ops: Op names (default bounds), or a mapping from op name to its bound: the largest absolute magnitude, > 0,
            in the op's unit.

    Raises:
        ValueError: If there is no op, a name is unknown or given twice, or a bound is not a positive number.

    Example:
        >>> space = TransformSpace({"rotation": 45.0, "brightness": 0.2})
        >>> space.units
        ('degrees', 'fraction of the full range')
    """

    def __init__(self, ops: Sequence[str] | Mapping[str, float]) -> None:
        if not ops:
            raise ValueError(f"ops: expected at least one op, found none. Known ops: {', '.join(OPS)}.")
        if len(set(ops)) < len(ops):
            raise ValueError(f"ops: each op may be given once, found {list(ops)}.")
        chosen = {name: find_op(name) for name in ops}
        self.ops = tuple(op for name, op in OPS.items() if name in chosen)
        bounds = [ops[op.name] if isinstance(ops, Mapping) else op.bound for op in self.ops]
        for op, bound in zip(self.ops, bounds, strict=True):
            if not 0 < bound < float("inf"):
                raise ValueError(
                    f"ops: the bound of {op.name!r} is the largest absolute magnitude in {op.unit} and must be > 0, "
                    f"found {bound}; {op.bound} is the default. Leave the op out to switch it off."
                )
        self.bounds = tuple(float(bound) for bound in bounds)

    @property
    def names(self) -> tuple[str, ...]:
        """Op names in the order of application, which is the order of the magnitudes."""
        return tuple(op.name for op in self.ops)

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each magnitude."""
        return tuple(op.unit for op in self.ops)

    def __len__(self) -> int:
        return len(self.ops)

    def check_channels(self, channels: int) -> None:
        """Raise ValueError if an op needs red, green, blue and images have another number of channels."""
        wrong = [op.name for op in self.ops if isinstance(op, ColourOp) and op.needs_rgb and channels != 3]
        if wrong:
            raise ValueError(
                f"ops: {', '.join(wrong)} need images with 3 channels (red, green, blue), found {channels}; "
                "remove them from the ops."
            )

    def apply(self, images: Tensor, magnitudes: Tensor) -> Tensor:
        """Transform each image by its own magnitudes, in float32 whatever autocast says.

        Args:
            images: `[B, C, H, W]` in [0, 1]; carries gradient.
            magnitudes: `[B, P]` in the ops' units, columns as `names`; carries gradient.

        Returns:
            `[B, C, H, W]` in [0, 1], of the dtype of `images`.

        Raises:
            ValueError: If the shapes do not match, the images are integers or an op needs three channels.
        """
        if images.ndim != 4 or magnitudes.shape != (len(images), len(self)):
            raise ValueError(
                f"expected images [B, C, H, W] and magnitudes [B, {len(self)}], "
                f"found {tuple(images.shape)} and {tuple(magnitudes.shape)}"
            )
        if not images.is_floating_point():
            raise ValueError(
                f"expected floating-point images in [0, 1], found {images.dtype}; divide 8-bit ones by 255"
            )
        self.check_channels(images.shape[1])
        precise = torch.promote_types(images.dtype, torch.float32)
        with torch.autocast(images.device.type, enabled=False):
            columns = dict(zip(self.names, magnitudes.to(precise).unbind(1), strict=True))
            moved = self._move(images.to(precise), columns)
            return self._recolour(moved, columns).clamp(0, 1).to(images.dtype)

    def _move(self, images: Tensor, magnitudes: Mapping[str, Tensor]) -> Tensor:
        matrix: Tensor | None = None
        for op in self.ops:
            if isinstance(op, SpatialOp):
                step = op.matrix(magnitudes[op.name])
                matrix = step if matrix is None else step @ matrix
        return images if matrix is None else warp(images, matrix)

    def _recolour(self, images: Tensor, magnitudes: Mapping[str, Tensor]) -> Tensor:
        matrix: Tensor | None = None
        mean_colour = images.mean(dim=(2, 3))
        for op in self.ops:
            if isinstance(op, ColourOp):
                step = op.matrix(magnitudes[op.name], mean_colour)
                mean_colour = torch.baddbmm(step[..., -1:], step[..., :-1], mean_colour[..., None])[..., 0]
                matrix = step if matrix is None else compose(matrix, step)
        return images if matrix is None else recolour(images, matrix)
