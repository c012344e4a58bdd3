"""Fused application of the ops of a space, in few passes over the pixels of the images that an op changes.

Axes: B images, C channels. `columns` holds the magnitudes `[B]` of each op by name, `noise` its further draws.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce

import torch
from torch import Tensor

from augnet.ops import ColorOp, MirrorOp, Op, PixelOp, SpatialOp
from augnet.ops.color import compose, recolor
from augnet.ops.spatial import Interpolation, mirror, mirror_matrix, warp

LARGE = 3 * 64 * 64  # numbers of an image
Columns = Mapping[str, Tensor]
Noise = Mapping[str, Tensor]


def geometry(ops: Sequence[Op], columns: Columns, noise: Noise, mirrors: bool = True) -> tuple[Tensor | None, bool]:
    """Return the product of all spatial matrices `[B, 3, 3]`, or None, and True if all of them are affine.

    It carries gradient to the magnitudes, but for `mirrors`, which may be left out.
    """
    matrix, affine = None, True
    for op in ops:
        if isinstance(op, MirrorOp) and mirrors:
            step = mirror_matrix(columns[op.name], noise[op.name], op.dim)
        elif isinstance(op, SpatialOp):
            step = op.matrix(columns[op.name], *drawn(op, noise))
            affine = affine and op.affine
        else:
            continue
        matrix = step if matrix is None else step @ matrix
    return matrix, affine


def move(
    images: Tensor, ops: Sequence[Op], columns: Columns, noise: Noise, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Mirror without interpolation, then resample once by the product of all other matrices."""
    for op in ops:
        if isinstance(op, MirrorOp):
            images = on_active(partial(mirror, dim=op.dim), images, columns[op.name], *drawn(op, noise))
    matrix, affine = geometry(ops, columns, noise, mirrors=False)
    if matrix is None:
        return images
    active = torch.stack([columns[op.name] for op in ops if isinstance(op, SpatialOp)]).abs().amax(dim=0)
    return on_active(lambda rows, _, maps: warp(rows, maps, affine, interpolation), images, active, matrix)


def mix_channels(images: Tensor, ops: Sequence[Op], columns: Columns, noise: Noise) -> Tensor:
    """Multiply every pixel by the product of all color matrices; not clamped."""
    chosen = [op for op in ops if isinstance(op, ColorOp)]
    if not chosen:
        return images
    active = torch.stack([columns[op.name] for op in chosen]).abs().amax(dim=0)
    arguments = [argument for op in chosen for argument in (columns[op.name], *drawn(op, noise))]

    def product(rows: Tensor, _: Tensor, *arguments: Tensor) -> Tensor:
        remaining, steps, mean_color = list(arguments), [], rows.mean(dim=(2, 3))
        for op in chosen:
            magnitudes, extra = remaining.pop(0), [remaining.pop(0) for _ in drawn(op, noise)]
            step = op.matrix(magnitudes, mean_color, *extra)
            mean_color = torch.baddbmm(step[..., -1:], step[..., :-1], mean_color[..., None])[..., 0]
            steps.append(step)
        return recolor(rows, reduce(compose, steps))

    return on_active(product, images, active, *arguments)


def change_pixels(images: Tensor, ops: Sequence[Op], columns: Columns, noise: Noise) -> Tensor:
    """Apply the pixel ops one after the other, each clamped to [0, 1]."""
    for op in ops:
        if isinstance(op, PixelOp):
            images = on_active(_clamped(op.apply), images, columns[op.name], *drawn(op, noise))
    return images


def _clamped(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *arguments: to_unit(function(*arguments))


def one_by_one(images: Tensor) -> bool:
    """Return True if calls for each image are faster than few for the batch: large ones on a CPU, without gradient."""
    attached = images.requires_grad or torch.compiler.is_compiling()
    return images.device.type == "cpu" and not attached and images.shape[1:].numel() >= LARGE


def to_unit(images: Tensor) -> Tensor:
    """Return images clamped to [0, 1], in place unless they carry gradient."""
    in_place = not (images.requires_grad or torch.compiler.is_compiling())
    return images.clamp_(0, 1) if in_place else images.clamp(0, 1)


def on_active(function: Callable[..., Tensor], images: Tensor, magnitudes: Tensor, *others: Tensor) -> Tensor:
    """Replace the images whose magnitude is not 0 by `function(images, magnitudes, *others)` of their rows.

    If the magnitudes carry gradient, all images are replaced, since the gradient at 0 is needed too. The images are
    overwritten in place unless they carry gradient.
    """
    if magnitudes.requires_grad or torch.compiler.is_compiling():
        return function(images, magnitudes, *others)
    rows = magnitudes.nonzero()[:, 0]
    if len(rows) == len(images):
        return function(images, magnitudes, *others)
    if len(rows) == 0:
        return images
    if one_by_one(images):
        for row in rows.tolist():  # one stays in the cache from step to step
            own = slice(row, row + 1)
            images[own].copy_(function(images[own], magnitudes[own], *(other[own] for other in others)))
        return images
    changed = function(images[rows], magnitudes[rows], *(other[rows] for other in others))
    return images.index_copy(0, rows, changed) if images.requires_grad else images.index_copy_(0, rows, changed)


def drawn(op: Op, noise: Noise) -> tuple[Tensor, ...]:
    """Return the noise of an op as a tuple of one argument or none."""
    return () if op.noise is None else (noise[op.name],)
