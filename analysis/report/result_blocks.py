"""Results of other analyses as blocks of a page; results of unknown fields are laid out generically.

Results with a layout of their own use it. In all others, mappings of mappings and lists of mappings
become tables with their numbers as columns; deeper levels get tables of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..results import find_result, read_result
from .blocks import DASH, MINUS, Block, Picture, Table, Text, number, spoken
from .drawing import picture_file
from .result_layouts import named_tables

_MOST_ROWS = 60
_MOST_OPEN = 20  # rows of a table that is not folded away
_MOST_COLUMNS = 12
_WIDEST = 48  # columns of what is still one table
_MOST_TABLES = 12
_LISTED = 8  # numbers in a cell
_CHOSEN: dict[str, dict[str, str]] = {  # of tables of too many columns: those to show, and their heads
    "Moments: augmentations": {
        "samples, loss, median": "Draws for the loss",
        "samples, loss, low": "lower quartile",
        "samples, loss, high": "upper quartile",
        "samples_mean_loss": "for the mean loss",
        "samples, image, median": "for the mean image",
        "samples, covariance, median": "for the covariance",
        "alignment, R": "Alignment R",
    }
}
_CAPTIONS = {
    "moments_samples": "Draws of each augmentation until its averages are right",
    "moments_images": "Mean, standard deviation and first principal direction of one image under each augmentation",
    "moments_influence": "Unexplained share of estimates of the expected influence; below 1 they are of use",
    "landscape_walks": "The loss along random directions from the trained weights",
    "exchange_rate_curves": "Accuracy against the number of training images: points are seeds, lines the power laws",
    "exchange_rate": "Worth of each policy by the power laws, with intervals; hollow points are extrapolated, "
    "triangles infinite",
    "class_effects": "Change from the best strength of each class to the strongest; pale is not significant",
    "class_effects_prediction": "Harm predicted by influence against measured harm; a point for each class",
}


def result_blocks(folder: Path, name: str) -> list[Block] | None:
    """Return pictures and tables of a named analysis of a run or a study; None if there is no result of it.

    Raises:
        ValueError: If the result is damaged.
    """
    content, source = read_result(folder, name), find_result(folder, name)
    if content is None or source is None:
        return None
    blocks: list[Block] = []
    for file in _pictures(content):
        path = source.parent / file
        shown = spoken(Path(file).stem.removeprefix(f"{name}_"))
        if path.is_file():
            caption = _CAPTIONS.get(path.stem, f"{spoken(name).capitalize()}: {shown}")
            blocks.append(Picture(picture_file(path, f"{caption}; its numbers are in the tables"), caption, wide=True))
    result = content.get("result")
    named = named_tables(name, result)
    return [*blocks, *(tables(result, spoken(name).capitalize()) if named is None else named), _how(content)]


def _pictures(content: Mapping[str, Any]) -> list[str]:
    """Return the names of files beside the result; paths to other folders are left out."""
    return [file for file in content.get("pictures") or () if isinstance(file, str) and Path(file).name == file]


def _how(content: Mapping[str, Any]) -> Text:
    """Return the settings and versions behind the result, as a note."""
    settings = [_setting(key, value) for key, value in (content.get("settings") or {}).items()]
    versions = [f"{key} {cell(value)}" for key, value in (content.get("versions") or {}).items()]
    parts = [f"seed {content.get('seed')}", *filter(None, settings), *versions]
    return Text(f"Measured with {'; '.join(parts)}.", note=True)


def _setting(key: str, value: Any) -> str:
    """Return a setting in words, nested ones in brackets; an empty string for empty settings and tables."""
    if not isinstance(value, Mapping):
        return "" if value in (None, [], "") or _is_deep(value) else f"{spoken(key)} {cell(value)}"
    inside = [f"{spoken(name)} {text}" for name, text in flatten(value).items() if text not in ("", DASH)]
    return f"{spoken(key)} ({', '.join(inside)})" if inside else ""


def tables(result: Any, title: str) -> list[Block]:
    """Return everything in a result as tables, of which the titles of deeper ones name their place in it."""
    found: list[Block] = []
    _walk(result, title, found)
    if len(found) > _MOST_TABLES:
        left = len(found) - _MOST_TABLES
        return [*found[:_MOST_TABLES], Text(f"{left} more tables are in the JSON file.", note=True)]
    return found


def _walk(value: Any, title: str, found: list[Block]) -> None:
    numbered = not isinstance(value, Mapping)
    if numbered:
        value = dict(enumerate(value, 1)) if _is_list(value) else {"value": value}
    deep = {str(key): one for key, one in value.items() if _is_deep(one)}
    flat = [[spoken(str(key)), cell(one)] for key, one in value.items() if not _is_deep(one)]
    if len(flat) == 1 and deep:
        found.append(Text(f"{flat[0][0].capitalize()}: {flat[0][1]}."))
    elif flat:
        found.append(Table(title, ["Quantity", "Value"], flat[:_MOST_ROWS]))
    rows = {key: flatten(one) for key, one in deep.items() if isinstance(one, Mapping)}
    if 1 < len(rows) == len(deep) and _alike(list(rows.values())):
        found.append(_table(rows, title, numbered))
        return
    for key, one in deep.items():
        _walk(one, f"{title}: {spoken(key)}", found)


def _table(rows: Mapping[str, Mapping[str, str]], title: str, numbered: bool) -> Table:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    words = [column for column in columns if all(_is_name(row.get(column, "")) for row in rows.values())]
    telling = [*words, *(one for one in columns[:1] if len({row.get(one) for row in rows.values()}) == len(rows))]
    name = telling[0] if numbered and telling else None  # a better name for a row than its number
    head = spoken(name).capitalize() if name else ("Number" if numbered else "Name")
    chosen = _CHOSEN.get(title, {})
    if not chosen or not set(chosen) <= set(columns):
        chosen = {one: spoken(one).capitalize() for one in columns if one != name}
    shown = dict(list(chosen.items())[:_MOST_COLUMNS])
    body = [
        [row.get(name, DASH) if name else spoken(key), *(row.get(column, DASH) for column in shown)]
        for key, row in rows.items()
    ]
    cut = f" (the first {_MOST_ROWS} of {len(body)} rows)" if len(body) > _MOST_ROWS else ""
    cut += f" (the first {_MOST_COLUMNS} of {len(chosen)} columns)" if len(chosen) > _MOST_COLUMNS else ""
    places = frozenset({0, *(place for place, column in enumerate(shown, 1) if column in words)})
    return Table(title + cut, [head, *shown.values()], body[:_MOST_ROWS], places, folded=len(body) >= _MOST_OPEN)


def _alike(rows: Sequence[Mapping[str, str]]) -> bool:
    """Return whether rows share half of their columns or more, and are not tables themselves."""
    every = set().union(*rows)
    shared = set(rows[0]).intersection(*rows[1:])
    return bool(shared) and len(every) <= min(2 * len(shared), _WIDEST)


def flatten(value: Any) -> dict[str, str]:
    """Return the cells of a row: numbers of inner mappings under the names that lead to them.

    Example:
        >>> flatten({"rate": {"low": 1.0, "high": None}, "sizes": [1, 2]})
        {'rate, low': '1', 'rate, high': '–', 'sizes': '1, 2'}
    """
    if not isinstance(value, Mapping):
        return {"value": cell(value)}
    cells: dict[str, str] = {}
    for key, one in value.items():
        inner = {f"{key}, {name}": text for name, text in flatten(one).items()}
        cells |= inner if isinstance(one, Mapping) else {str(key): cell(one)}
    return cells


def cell(value: Any) -> str:
    """Return one value as text; of long lists their length, of nested ones a mark.

    Example:
        >>> cell(True), cell(None), cell(0.123456), cell([1, 2]), cell(list(range(100)))
        ('yes', '–', '0.123', '1, 2', '100 numbers, 0 to 99')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return DASH
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if isinstance(value, float):
        return number(value)
    if not _is_list(value):
        return "…" if isinstance(value, Mapping) else str(value)
    if any(_is_list(one) or isinstance(one, Mapping) for one in value):
        return f"{len(value)} entries"
    if len(value) > _LISTED and all(isinstance(one, int | float) for one in value):
        return f"{len(value)} numbers, {cell(min(value))} to {cell(max(value))}"
    more = f" and {len(value) - _LISTED} more" if len(value) > _LISTED else ""
    return ", ".join(cell(one) for one in value[:_LISTED]) + more


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_deep(value: Any) -> bool:
    """Return whether a value needs a table: a mapping, or a list of lists or mappings."""
    return isinstance(value, Mapping) or (_is_list(value) and any(_is_list(x) or isinstance(x, Mapping) for x in value))


def _is_name(text: str) -> bool:
    """Return whether a cell is a word rather than a number."""
    return text[:1].isalpha() and text not in ("yes", "no")
