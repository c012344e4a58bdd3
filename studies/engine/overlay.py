"""Fields of a setting from several mappings, and a checked dataclass from them."""

from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

T = TypeVar("T")


def overlaid(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return mappings laid over each other; where several have a mapping under a name, these are overlaid too.

    Example:
        >>> overlaid({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": 4})
        {'a': {'b': 1, 'c': 3}, 'd': 4}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            old = result.get(name)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[name] = overlaid(old, value) if both else value  # type: ignore[arg-type]
    return result


def build(kind: type[T], fields: Mapping[str, Any], where: str) -> T:
    """Return a dataclass from plain values, all of them checked against its annotations.

    Args:
        kind: The dataclass.
        fields: Its fields; those that are dataclasses are mappings.
        where: Named in errors.

    Raises:
        ValueError: If a field is unknown, missing or of another type.
    """
    parser = _parser_of(kind)  # type: ignore[arg-type]
    try:
        instantiate = getattr(parser, "instantiate", parser.instantiate_classes)  # before jsonargparse 4.49
        values = instantiate(parser.parse_object(deepcopy(dict(fields))))
    except ArgumentError as error:
        raise ValueError(f"{where}: {error}") from error
    return kind(**values.as_dict())


@lru_cache
def _parser_of(kind: Any) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    return parser
