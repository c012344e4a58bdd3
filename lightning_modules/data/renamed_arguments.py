"""Arguments of 0.1.0 that have another name now."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def renamed_argument(old: str, new: str) -> Callable[[Function], Function]:
    """Return a decorator for functions that take a keyword argument by its old name too, with a DeprecationWarning.

    Args:
        old: Name of the argument up to 0.1.0.
        new: Its name in the signature.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def with_old_name(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs:
                warnings.warn(
                    f"the argument {old} is called {new} now; its old name goes with the next version.",
                    DeprecationWarning,
                    stacklevel=2,
                )
                if new in kwargs:
                    raise TypeError(f"{old} is the old name of {new}: give {new} alone.")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return with_old_name  # type: ignore[return-value]

    return decorate
