"""The page of a study: what a kind of study makes of its results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from studies.engine.study import Results, Study


@dataclass(frozen=True)
class Page:
    """Content that is published beside the runs.

    Args:
        parts: Paragraphs and tables in Markdown, below the head that the engine writes.
        pictures: By the last part of their file names: `""` is `NAME.png`, `curves` is `NAME_curves.png`.
        facts: Further numbers for the JSON file, as plain values.
    """

    parts: Sequence[str]
    pictures: Mapping[str, Figure] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report(ABC):
    """The options of a page; a subclass belongs to a kind of study and adds its fields."""

    def check(self, study: Study) -> None:  # noqa: B027 - a report without options has nothing to check
        """Raise ValueError if the options do not fit the study; called before anything is trained."""

    @abstractmethod
    def page(self, study: Study, results: Results) -> Page:
        """Return the page of the results that there are; some cells of the study may be missing."""
