"""Rendering of a page: blocks to HTML, by a template that escapes all text from data."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from jinja2 import Environment, PackageLoader, StrictUndefined

from .blocks import Chapter, Section
from .provenance import page_origin


def render(
    title: str, summary: Sequence[str], caveats: Sequence[str], shared: Sequence[Section], chapters: Sequence[Chapter]
) -> str:
    """Return a report as one HTML document without external resources.

    Sentences with their caveats are at the top, then come the sections about all runs, and a chapter for each run.
    """
    environment = Environment(
        loader=PackageLoader(__package__ or "", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = {"title": title, "summary": summary, "caveats": caveats, "shared": shared, "chapters": chapters}
    return environment.get_template("page.html.jinja").render(
        **content, footer=page_origin(), version=version("augfluence")
    )
