"""YAML text in which every value has a comment."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union

import yaml

_WIDTH = 120
_COLUMN = 40  # of the comments behind short values


@dataclass(frozen=True)
class Setting:
    """A value of a configuration, and the reason for it in words."""

    value: Any
    why: str = ""


Settings = Mapping[str, Union["Settings", Setting]]
"""A part of a configuration: settings and further parts by name."""


def commented_yaml(settings: Settings, header: list[str]) -> str:
    """Return a configuration as YAML, with a header of comments and the reason of each setting beside or above it.

    Args:
        settings: The configuration.
        header: Lines of the header; those longer than a line are wrapped.
    """
    lines = [f"# {line}".rstrip() for text in header for line in (textwrap.wrap(text, _WIDTH - 2) or [""])]
    for name, part in settings.items():
        lines += ["", *_lines({name: part}, "")]
    return "\n".join(lines) + "\n"


def plain(settings: Settings) -> dict[str, Any]:
    """Return the configuration without its comments, as a parser reads it."""
    return {name: part.value if isinstance(part, Setting) else plain(part) for name, part in settings.items()}


def _lines(settings: Settings, indent: str) -> Iterator[str]:
    for name, part in settings.items():
        if not isinstance(part, Setting):
            yield f"{indent}{name}:"
            yield from _lines(part, f"{indent}  ")
            continue
        text = f"{indent}{name}: {_flow(part.value)}"
        beside = f"{text:<{_COLUMN}} # {part.why}"
        if not part.why:
            yield text
        elif len(beside) <= _WIDTH:
            yield beside
        else:
            yield from textwrap.wrap(part.why, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
            yield text


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
        .removesuffix("...\n")
        .rstrip("\n")
    )
