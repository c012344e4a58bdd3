"""All ops by name, in the order in which a space applies them: geometry first, then colour."""

from __future__ import annotations

import difflib
from types import MappingProxyType

from augnet.ops.base import Op
from augnet.ops.colour import COLOUR_OPS
from augnet.ops.spatial import SPATIAL_OPS

OPS = MappingProxyType({op.name: op for op in (*SPATIAL_OPS, *COLOUR_OPS)})


def find_op(name: str) -> Op:
    """Look an op up by name.

    Raises:
        ValueError: If there is no op of that name; the message lists close matches and all names.
    """
    if name in OPS:
        return OPS[name]
    close = difflib.get_close_matches(name, OPS, n=2)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    raise ValueError(f"unknown op {name!r}{hint} Known ops: {', '.join(OPS)}.")
