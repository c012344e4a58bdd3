"""Documentation of all logged metrics, from `metric_keys.yaml`: meaning, unit, frequency, healthy values, remedies.

Source of the table in docs/logging.md, which `python -m lightning_modules.monitoring.metric_keys` updates, and of the
help on the dashboards (`lightning_modules.commands.dashboard`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from augnet.atomic_file import write_atomically

PAGE = Path(__file__).parents[2] / "docs" / "logging.md"
_BEGIN, _END = "<!-- made by python -m lightning_modules.monitoring.metric_keys -->", "<!-- end of what was made -->"


@dataclass(frozen=True)
class MetricKey:
    """A key of the log, or a family of keys.

    Attributes:
        key: The logged key; a word in capitals stands for the name of an op, a class or a fact.
        meaning: Meaning of its values.
        unit: Unit of its values.
        when: Frequency of logging.
        healthy: Expected values.
        otherwise: Remedy for other values.
    """

    key: str
    meaning: str
    unit: str
    when: str
    healthy: str
    otherwise: str

    @property
    def is_family(self) -> bool:
        """True if it stands for several keys."""
        return self.key != re.sub(r"[A-Z]+", "", self.key)

    @property
    def regex(self) -> str:
        """Regular expression for the logged keys."""
        return "^" + "(.+)".join(re.escape(part) for part in re.split(r"[A-Z]+", self.key)) + "$"

    def covers(self, logged: str) -> bool:
        """Return True if a logged key is this key or belongs to this family."""
        return re.match(self.regex, logged) is not None


_TABLE: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
METRICS = tuple(MetricKey(key, **cells) for key, cells in _TABLE.items())


def metric(key: str) -> MetricKey:
    """Return the entry of a documented key.

    Raises:
        KeyError: If there is none.
    """
    for found in METRICS:
        if found.key == key:
            return found
    raise KeyError(f"{key!r} is not documented: add it to metric_keys.yaml")


def table() -> str:
    """Return the entries as a Markdown table."""
    columns = ("key", "what it is", "unit", "logged", "healthy", "when it is not")
    rows = [(f"`{one.key}`", one.meaning, one.unit, one.when, one.healthy, one.otherwise) for one in METRICS]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ("---",) * len(columns), *rows))


def updated(page: str) -> str:
    """Return the text of a page with the current table.

    Raises:
        ValueError: If the page has no markers for it.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"expected the lines {_BEGIN} and {_END} around the table, found no such place in the page.")
    return f"{before}{begin}\n\n{table()}\n\n{end}{after}"


if __name__ == "__main__":
    write_atomically(PAGE, updated(PAGE.read_text()))
