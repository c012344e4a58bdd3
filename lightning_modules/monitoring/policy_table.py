"""Learned policies as tables on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

Facts = Mapping[str, Mapping[str, Any]]


def policy_table(name: str, facts: Facts) -> Table:
    """Return the table of the policy of a run or control: ranges, mixture, or the facts of a field network.

    `facts` are those of `AugNet.describe()`, at least one.
    """
    first = next(iter(facts.values()))
    table = _mixture_table if "probability" in first else _ranges_table if "half_width" in first else _field_table
    return table(name, facts)


def _ranges_table(name: str, facts: Facts) -> Table:
    """Return the range of each op, in physical units."""
    table = _table(f"Ranges ({name})", "op", "range", "of its bound", "unit")
    for op, found in facts.items():
        half_width, bound = float(found["half_width"]), float(found["bound"])
        ends = f"{found['lowest']:.3g} to {found['highest']:.3g}" if "lowest" in found else f"+-{half_width:.3g}"
        table.add_row(op, ends, f"{100 * half_width / bound:.0f} %", str(found["unit"]))
    return table


def _field_table(name: str, facts: Facts) -> Table:
    """Return the measurements of a field network."""
    table = _table(f"Fields ({name})", "fact", "value", "unit")
    for fact, found in facts.items():
        table.add_row(fact, f"{found['value']:.3g}", found["unit"])
    return table


def _mixture_table(name: str, facts: Facts) -> Table:
    """Return the probability and the mean strength of each op, the most frequent first."""
    table = _table(f"Mixture ({name})", "op", "probability", "mean strength", "of its bound", "unit")
    for op, found in sorted(facts.items(), key=lambda item: -item[1]["probability"]):
        strength, bound = found["strength"], found["bound"]
        share = f"{100 * strength / bound:.0f} %" if bound else "-"
        table.add_row(op, f"{100 * found['probability']:.1f} %", f"{strength:.3g}", share, found["unit"])
    return table


def _table(title: str, *columns: str) -> Table:
    """Return an empty table: names and units to the left, numbers to the right."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column in ("op", "fact", "unit") else "right")
    return table
