"""Arguments of the data modules that had another name in 0.1.0, which is accepted with a DeprecationWarning."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

RENAMED = {"influence_set": "influence_source"}
"""Old and new name of each argument."""

Function = TypeVar("Function", bound=Callable[..., Any])


def warn_of_old_name(what: str, old: str, new: str) -> None:
    """Warn the caller's caller of the old name of an argument or a setting."""
    text = f"the {what} {old} is called {new} now; its old name goes with the next version."
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def accepts_old_names(function: Function) -> Function:
    """Decorate a function to take keyword arguments by their old names too."""

    @functools.wraps(function)
    def with_old_names(*args: Any, **kwargs: Any) -> Any:
        for old in RENAMED.keys() & kwargs:
            new = RENAMED[old]
            warn_of_old_name("argument", old, new)
            if new in kwargs:
                raise TypeError(f"{old} is the old name of {new}: give {new} alone.")
            kwargs[new] = kwargs.pop(old)
        return function(*args, **kwargs)

    return with_old_names  # type: ignore[return-value]
