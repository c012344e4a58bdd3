"""Layouts of known analyses: the tables of their results as blocks of a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..class_effects.effect_tables import effect_tables, recipe_text
from ..exchange_rate.worth_tables import notes, worth_tables
from ..landscape.landscape_report import LEGEND, landscape_table
from ..text_table import TextTable
from .blocks import DASH, MINUS, Block, Table, Text

_MOST_OPEN = 20  # rows of a table that is not folded away


def named_tables(name: str, result: Any) -> list[Block] | None:
    """Return the tables of a named analysis with their notes.

    None if it has no layout, or the result does not fit it (of another version).
    """
    layouts = {"class_effects": _class_effects, "exchange_rate": _exchange_rate, "landscape": _landscape}
    try:
        return layouts[name](result)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration):
        return None


def _class_effects(result: Mapping[str, Any]) -> list[Block]:
    recipes = [Text(_typeset(recipe_text(recipe))) for recipe in result["recipes"].values()]
    return [*map(_table, effect_tables(result)), *recipes]


def _exchange_rate(result: Mapping[str, Any]) -> list[Block]:
    return [*(Text(_typeset(note)) for note in notes(result)), *map(_table, worth_tables(result))]


def _landscape(result: Mapping[str, Any]) -> list[Block]:
    return [Text(LEGEND), _table(landscape_table(result))]


def _table(grid: TextTable) -> Table:
    rows = [[_typeset(cell) for cell in row] for row in grid.rows]
    words = {place for place in range(len(grid.header)) if rows and all(row[place][:1].isalpha() for row in rows)}
    heads = [head[:1].upper() + head[1:] for head in grid.header]
    return Table(_typeset(grid.title), heads, rows, frozenset({0} | words), folded=len(rows) >= _MOST_OPEN)


def _typeset(text: str) -> str:
    """Return text with a real minus, a dash for unknown numbers, and without the marks of Markdown."""
    return DASH if text == "-" else re.sub(r"(?<!\w)-(?=\d)", MINUS, text).replace("`", "")
