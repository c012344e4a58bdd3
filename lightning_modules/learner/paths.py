"""Paths as users give them."""

import os
from pathlib import Path


def expanded(path: str | Path) -> str:
    """Return a path with `~` and `$VARIABLES` replaced; variables that are not set stay as they are."""
    return os.path.expanduser(os.path.expandvars(path))
