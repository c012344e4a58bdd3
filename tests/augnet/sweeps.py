"""Many cases in one test: as `pytest.mark.parametrize`, without the cost of a test for each."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from augnet.ops import OPS

Test = Callable[..., None]


def sweep(
    names: str | tuple[str, ...], cases: Iterable[Any], by: Callable[[Any], str] | None = None
) -> Callable[[Test], Test]:
    """Run a test for every case in turn; a failure notes the case it is about.

    Args:
        names: Of the arguments, as for `parametrize`.
        cases: Their values, as for `parametrize`.
        by: Group of a case; each group is a test of its own. By default all cases are one test.
    """
    groups: dict[str, list[Any]] = {}
    for case in cases:
        groups.setdefault("" if by is None else by(case), []).append(case)
    arguments = (names,) if isinstance(names, str) else names

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def swept(**given: Any) -> None:
            for case in groups[given.pop("group") if by is not None else ""]:
                values = (case,) if isinstance(names, str) else case
                try:
                    test(**given, **dict(zip(arguments, values, strict=True)))
                except BaseException as error:
                    error.add_note(f"{', '.join(arguments)}: {case!r}")
                    raise

        signature = inspect.signature(test)
        parameters = [parameter for name, parameter in signature.parameters.items() if name not in arguments]
        if by is not None:
            parameters.append(inspect.Parameter("group", inspect.Parameter.KEYWORD_ONLY))
        swept.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return pytest.mark.parametrize("group", groups)(swept) if by is not None else swept

    return decorate


def kind_of(name: str | tuple[str, ...]) -> str:
    """The type of an op by its name, for `by`: `MirrorOp`, `SpatialOp`, ...; `several` for a tuple of names."""
    return type(OPS[name]).__name__ if isinstance(name, str) else "several"
