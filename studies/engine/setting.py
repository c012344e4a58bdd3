"""The setting of one run: everything that its result depends on, and the key that the result is kept under."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from studies.engine.cache import Cache

Result = dict[str, Any]  # plain values: what JSON can say
_KEY_LENGTH = 24


@dataclass(frozen=True, kw_only=True)
class Setting(ABC):
    """One run; a subclass is a kind of run and adds its fields.

    Attributes:
        version: Raise it when the same fields give another result: older results are then not read.

    Args:
        seed: Of all that is drawn: splits, first weights, order, views.
    """

    version: ClassVar[int] = 1

    seed: int

    @abstractmethod
    def run(self, cache: Cache) -> Result:
        """Return the result of the run.

        Args:
            cache: Gives a folder for files (`cache.files(self)`) and the results of other runs (`cache.obtain`).

        Raises:
            ValueError: If the fields do not fit together or do not fit the data.
        """

    def check(self) -> None:  # noqa: B027 - not every kind of run has something to check
        """Raise ValueError if the run cannot be made; called before anything is trained, for one seed of each arm."""

    def content(self) -> dict[str, Any]:
        """Return what the key is made of, as plain values: by default all fields."""
        return asdict(self)

    @cached_property
    def key(self) -> str:
        """A hash of the kind of run, its version and its content."""
        content = {"kind": type(self).__name__, "version": self.version, **self.content()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]
