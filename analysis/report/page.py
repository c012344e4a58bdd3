"""Rendering of a page: blocks to HTML, by a template that escapes all text from data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from .blocks import Chapter, Section


@dataclass(frozen=True)
class Page:
    """A report: sentences with their caveats at the top, sections about all runs, and a chapter for each run."""

    title: str
    summary: Sequence[str]
    caveats: Sequence[str]
    shared: Sequence[Section]
    chapters: Sequence[Chapter]
    footer: str


def render(page: Page) -> str:
    """Return the page as one HTML document without external resources."""
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(_resource("style.css"))  # ours
    template = environment.get_template("page.html.jinja")
    return template.render(**vars(page), style=style, version=version("augfluence"))


def _resource(name: str) -> str:
    """Return the text of a file of this package."""
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
