"""Former names of members of a package, which still work for one version."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any


def former_names(package: str, **names: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that finds members by their former names, with a DeprecationWarning."""

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        warnings.warn(f"{name} is {names[name]} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(package), names[name])

    return find
