"""Op names of version 0.1.0, in policy files, configurations and calls, that torchvision and kornia spell otherwise."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

FORMER_NAMES = {"equalise": "equalize", "grey": "grayscale", "posterise": "posterize", "solarise": "solarize"}
"""Former name -> current name."""


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
