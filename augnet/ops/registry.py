"""Registry of the ops, in the order in which a space applies them, and the names that they had in version 0.1.0."""

import difflib
import warnings
from collections.abc import Iterable
from types import MappingProxyType

from augnet.ops.base import Op
from augnet.ops.color import COLOR_OPS
from augnet.ops.filters import FILTER_OPS
from augnet.ops.mixing import MIXING_OPS
from augnet.ops.occlusion import OCCLUSION_OPS
from augnet.ops.pointwise import POINTWISE_OPS
from augnet.ops.spatial import MIRROR_OPS, SPATIAL_OPS

_FAMILIES: tuple[tuple[Op, ...], ...] = (
    MIRROR_OPS,
    SPATIAL_OPS,
    COLOR_OPS,
    POINTWISE_OPS,
    FILTER_OPS,
    OCCLUSION_OPS,
    MIXING_OPS,
)
OPS = MappingProxyType({op.name: op for family in _FAMILIES for op in family})
"""Name -> op, in the order of application."""
FORMER_NAMES = {"equalise": "equalize", "grey": "grayscale", "posterise": "posterize", "solarise": "solarize"}
"""Op name of version 0.1.0, in policy files, configurations and calls -> name as in torchvision and kornia."""


def find_op(name: str) -> Op:
    """Return the op of a name, or of the name that it had in version 0.1.0.

    Raises:
        ValueError: If there is no op of that name; the message lists close matches and all names.
    """
    (name,) = current_names([name])
    if name in OPS:
        return OPS[name]
    close = difflib.get_close_matches(name, OPS, n=2)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    raise ValueError(f"unknown op {name!r}{hint} Known ops: {', '.join(OPS)}.")


def current_names(names: Iterable[str]) -> list[str]:
    """Return op names in their current spelling; warn once, with DeprecationWarning, if any of them is a former one."""
    names = list(names)
    former = [f"{name!r} is {FORMER_NAMES[name]!r}" for name in names if name in FORMER_NAMES]
    if former:
        warnings.warn(
            f"ops are spelled as in torchvision now: {', '.join(former)}; the former names go with the next version.",
            DeprecationWarning,
            stacklevel=3,
        )
    return [FORMER_NAMES.get(name, name) for name in names]
