"""Registry of the ops, in the order in which a space applies them."""

from __future__ import annotations

import difflib
from types import MappingProxyType

from augnet.ops.base import Op
from augnet.ops.color import COLOR_OPS
from augnet.ops.filters import FILTER_OPS
from augnet.ops.mixing import MIXING_OPS
from augnet.ops.occlusion import OCCLUSION_OPS
from augnet.ops.pointwise import POINTWISE_OPS
from augnet.ops.renamed import current_names
from augnet.ops.spatial import MIRROR_OPS, SPATIAL_OPS

_ORDER: tuple[Op, ...] = (
    *MIRROR_OPS,
    *SPATIAL_OPS,
    *COLOR_OPS,
    *POINTWISE_OPS,
    *FILTER_OPS,
    *OCCLUSION_OPS,
    *MIXING_OPS,
)
OPS = MappingProxyType({op.name: op for op in _ORDER})
"""Name -> op, in the order of application."""


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
