"""Parts of a page: sections of paragraphs, tables and pictures. Plain text; the template escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

DASH = "\N{EN DASH}"  # in place of an unknown number
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Text:
    """A paragraph; a note qualifies the block before it, and is set smaller."""

    words: str
    note: bool = False


@dataclass(frozen=True)
class Preformatted:
    """Text with its line breaks, folded away under a title."""

    title: str
    words: str


@dataclass(frozen=True)
class Table:
    """Rows under column heads; the first column names the row, the others are numbers unless they say otherwise."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]  # of as many cells as there are columns
    words: frozenset[int] = frozenset({0})  # the columns that hold words, by their place
    folded: bool = False  # opened only on request


@dataclass(frozen=True)
class Picture:
    """A drawing or a photograph: an `<svg>` or `<img>` element with its alternative text in it, see `drawing`."""

    content: Markup
    caption: str
    wide: bool = False  # small screens scroll through it rather than shrink it


@dataclass(frozen=True)
class Gallery:
    """Images beside each other: `<img>` elements and the lines below each."""

    caption: str
    items: Sequence[tuple[Markup, Sequence[str]]]


Block = Text | Preformatted | Table | Picture | Gallery


@dataclass(frozen=True)
class Section:
    """A part of a page."""

    name: str  # unique in its chapter, for links
    title: str
    blocks: Sequence[Block] = ()
    missing: str | None = None  # the command that makes its content, if there is none


@dataclass(frozen=True)
class Chapter:
    """The sections of one run."""

    name: str
    title: str
    sections: Sequence[Section]


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with so many significant digits, thousands apart, a real minus; a dash for None.

    Example:
        >>> number(12345.6), number(-0.01234), number(None), number(46.0)
        ('12,346', '−0.0123', '–', '46')
    """
    if value is None:
        return DASH
    text = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return text.replace("-", MINUS)


def fixed(value: float | None, decimals: int) -> str:
    """Format a number with so many decimals and a real minus, so that the numbers of a column align.

    Example:
        >>> fixed(-0.0283, 3), fixed(-0.0001, 3), fixed(None, 1)
        ('−0.028', '0.000', '–')
    """
    if value is None:
        return DASH
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """Format a difference with its sign and so many decimals.

    Example:
        >>> signed(56.31), signed(-0.04), signed(-2.0)
        ('+56.3', '0.0', '−2.0')
    """
    text = fixed(value, digits)
    return f"+{text}" if float(f"{value:.{digits}f}") > 0 else text


def listed(words: Sequence[str]) -> str:
    """Join words as a list in a sentence.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a"])
        ('a, b and c', 'a')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def spoken(name: str) -> str:
    """Return a name as words: `translate_x` is "translate x"."""
    return name.replace("_", " ")
