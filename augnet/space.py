"""A set of ops with bounds on their magnitudes, and their fused application.

All geometry is composed into one matrix and one resampling, all linear color into one matrix per image. Ops are applied
in the order of `augnet.ops.OPS`: mirrors, geometry, linear color, tone curves, filters, occlusion, mixing. The result
is clamped to [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self, get_args

import torch
from torch import Tensor

from augnet.batch import Batch
from augnet.fused import Noise, change_pixels, geometry, mix_channels, move, to_unit
from augnet.ops import OPS, MixingOp, find_op
from augnet.ops.mixing import partners_of
from augnet.ops.registry import current_names
from augnet.ops.spatial import Interpolation
from augnet.space_base import Space

_LEAST = 1e-4  # of the default bound of an op: less is nothing that one could see


class TransformSpace(Space):
    """A set of ops with their bounds.

    Args:
        ops: Op names (default bounds), or a mapping from op name to its bound: the largest absolute magnitude, > 0,
            in the op's unit.
        interpolation: Of the resampling; torchvision's automatic policies use `nearest`, which carries no gradient to
            spatial magnitudes.

    Attributes:
        ops: The ops in the order of application, that of the magnitudes.
        names: Name of each op.
        units: Unit of each magnitude.
        signed: True for each op with negative magnitudes.
        bounds: Largest absolute magnitude of each op.

    Raises:
        ValueError: If there is no op, a name is unknown or given twice, or a bound is not a positive number within
            the op's limit.

    Example:
        >>> space = TransformSpace({"rotation": 45.0, "brightness": 0.2})
        >>> space.units
        ('degrees', 'fraction of the full range')
    """

    parts: ClassVar[str] = "ops"

    def __init__(self, ops: Sequence[str] | Mapping[str, float], interpolation: Interpolation = "bilinear") -> None:
        if not ops:
            raise ValueError(f"ops: expected at least one op, found none. Known ops: {', '.join(OPS)}.")
        names = current_names(ops)
        if len(set(names)) < len(names):
            raise ValueError(f"ops: each op may be given once, found {names}.")
        defaults = [find_op(name).bound for name in names]
        chosen = dict(zip(names, ops.values() if isinstance(ops, Mapping) else defaults, strict=True))
        self.ops = tuple(op for name, op in OPS.items() if name in chosen)
        bounds = [chosen[op.name] for op in self.ops]
        for op, bound in zip(self.ops, bounds, strict=True):
            if not _LEAST * op.bound <= bound <= op.limit:
                raise ValueError(
                    f"ops: the bound of {op.name!r} is the largest absolute magnitude in {op.unit} and must be > 0 "
                    f"and at most {op.limit:g}, found {bound}; {op.bound} "
                    f"is the default. Leave the op out to switch it off; below {_LEAST * op.bound:g} it does nothing."
                )
        self.names = tuple(op.name for op in self.ops)
        self.units = tuple(op.unit for op in self.ops)
        self.signed = tuple(op.signed for op in self.ops)
        self.bounds = tuple(float(bound) for bound in bounds)
        self.interpolation = interpolation

    def __reduce__(self) -> tuple[type["TransformSpace"], tuple[dict[str, float], Interpolation]]:
        """Pickle by name, since some ops hold closures, which cannot be pickled."""
        return TransformSpace, (dict(zip(self.names, self.bounds, strict=True)), self.interpolation)

    @property
    def mixes(self) -> bool:
        """True if an op mixes images and labels."""
        return any(isinstance(op, MixingOp) for op in self.ops)

    def __len__(self) -> int:
        return len(self.ops)

    def check_channels(self, channels: int) -> None:
        """Raise ValueError if an op needs RGB images and there are not 3 channels."""
        wrong = [op.name for op in self.ops if op.needs_rgb and channels != 3]
        if wrong:
            raise ValueError(
                f"ops: {', '.join(wrong)} need images with 3 channels (red, green, blue), found {channels}; "
                "remove them from the ops."
            )

    def noise(self, images: Tensor, generator: torch.Generator | None = None) -> Noise:
        """Draw the noise `[B, ...]` of all ops that have any, by name, for every image, used or not.

        The draws of one image thus do not depend on the magnitudes of another. The pixels are not used.
        """
        return {op.name: op.noise(images, generator) for op in self.ops if op.noise is not None}

    def apply_to(
        self, batch: Batch, magnitudes: Tensor, noise: Noise | None = None, generator: torch.Generator | None = None
    ) -> Batch:
        """Transform a batch by magnitudes `[B, P]` in the ops' units, columns as `names`; see `Space.apply_to`.

        Raises:
            ValueError: If the shapes do not match, the images are integers or an op needs three channels; or if an op
                mixes images and there are masks, boxes, or class numbers where probabilities are needed.
        """
        self._check(batch, magnitudes)
        images = batch.images
        precise = torch.promote_types(images.dtype, torch.float32)
        with torch.autocast(images.device.type, enabled=False):
            noise = self.noise(images, generator) if noise is None else noise
            columns = self._columns(images, magnitudes)
            if batch.masks is not None or batch.boxes is not None:
                batch = self.follow(batch, magnitudes, noise)
            result = images.to(precise, copy=_writes_in_place(images, magnitudes))
            result = move(result, self.ops, columns, noise, self.interpolation)
            result = mix_channels(result, self.ops, columns, noise)
            result = result.clamp(0, 1) if result is images else to_unit(result)
            result = change_pixels(result, self.ops, columns, noise)
            batch = replace(batch, images=result)
            for op in self.ops:
                if isinstance(op, MixingOp):
                    partners = partners_of(noise[op.name])
                    mixed = op.apply(batch.images, batch.images[partners], columns[op.name], noise[op.name])
                    batch = batch.mixed(*mixed, partners)
        return replace(batch, images=batch.images.to(images.dtype))

    def follow(self, batch: Batch, magnitudes: Tensor, noise: Noise) -> Batch:
        """Move masks and boxes as `apply` moves the images; see `Space.follow`."""
        matrix, affine = geometry(self.ops, self._columns(batch.images, magnitudes), noise)
        return batch if matrix is None else batch.moved(matrix, affine)

    def config(self) -> dict[str, Any]:
        """Return the interpolation and the bounds of the ops."""
        return {"interpolation": self.interpolation, "bounds": dict(zip(self.names, self.bounds, strict=True))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the space of a config, see `Space.from_config`."""
        if config["interpolation"] not in get_args(Interpolation):
            raise ValueError(f"unknown interpolation {config['interpolation']!r}")
        bounds = {str(name): float(bound) for name, bound in config["bounds"].items()}
        return cls(bounds, interpolation=config["interpolation"])

    def _columns(self, images: Tensor, magnitudes: Tensor) -> dict[str, Tensor]:
        """Return magnitudes `[B]` by op name, in float32 or the dtype of the images if that is wider."""
        precise = torch.promote_types(images.dtype, torch.float32)
        return dict(zip(self.names, magnitudes.to(precise).unbind(1), strict=True))

    def _check(self, batch: Batch, magnitudes: Tensor) -> None:
        if batch.images.ndim != 4 or magnitudes.shape != (batch.images.shape[0], len(self)):
            raise ValueError(
                f"expected images [B, C, H, W] and magnitudes [B, {len(self)}], "
                f"found {tuple(batch.images.shape)} and {tuple(magnitudes.shape)}"
            )
        batch.check()
        self.check_channels(batch.images.shape[1])
        if not self.mixes:
            return
        mixing = ", ".join(op.name for op in self.ops if isinstance(op, MixingOp))
        if batch.masks is not None or batch.boxes is not None:
            raise ValueError(f"ops: {mixing} cannot mix masks or boxes; leave them out of the ops for such data.")
        labels = batch.labels
        if labels is not None and (labels.ndim != 2 or not labels.is_floating_point()):
            raise ValueError(
                f"ops: {mixing} mix labels: expected probabilities [B, K], found {labels.dtype} {tuple(labels.shape)}; "
                "for class numbers give torch.nn.functional.one_hot(labels, num_classes).float()."
            )


def _writes_in_place(images: Tensor, magnitudes: Tensor) -> bool:
    """Return True if `on_active` may write into the images, so that the caller's must be copied."""
    differentiated = torch.is_grad_enabled() and (images.requires_grad or magnitudes.requires_grad)
    if differentiated or torch.compiler.is_compiling():
        return False
    return bool((magnitudes == 0).any())
