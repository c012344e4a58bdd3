"""The learned policy of a run in words, as a table with units, and over time."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augnet import AugNet
from augnet.ops import find_op

from .blocks import Table, listed, number, spoken

_NOTABLE = 0.1  # of the bound, or of the choices
_OFF = 0.05
_NAMED = 4  # ops in a sentence
_NOTHING = 1e-4  # of any unit

Facts = Mapping[str, Mapping[str, Any]]


def kind_of(facts: Facts) -> str:
    """Return the kind of policy behind `AugNet.describe`: `mixture`, `ranges` or `fields`."""
    one = next(iter(facts.values()))
    return "mixture" if "probability" in one else "ranges" if "half_width" in one else "fields"


def sentences(facts: Facts) -> list[str]:
    """Return the policy in a sentence or two."""
    return {"mixture": _mixture, "ranges": _ranges, "fields": _fields}[kind_of(facts)](facts)


def _ranges(facts: Facts) -> list[str]:
    shares = {op: found["half_width"] / found["bound"] for op, found in facts.items()}
    order = sorted(shares, key=lambda op: -shares[op])
    notable = [op for op in order if shares[op] >= _NOTABLE][:_NAMED]
    said = [
        f"{spoken(op)} {'from' if 'lowest' in facts[op] else 'up to'} {_in_words(op, facts)} "
        f"({100 * shares[op]:.0f} % of its bound)"
        for op in notable
    ]
    off = [spoken(op) for op in order if shares[op] < _OFF]
    words = [f"Learned: {listed(said)}." if said else "No op was learned beyond a tenth of its bound."]
    if off:
        verb = "is" if len(off) == 1 else "are"
        words.append(f"Nearly switched off (under {100 * _OFF:.0f} % of the bound) {verb} {listed(off)}.")
    return words


def _mixture(facts: Facts) -> list[str]:
    order = sorted(facts, key=lambda op: -facts[op]["probability"])[:_NAMED]
    said = [f"{spoken(op)} ({100 * facts[op]['probability']:.0f} %)" for op in order]
    return [f"The mixture takes these most often: {listed(said)}; an even choice would be {100 / len(facts):.0f} %."]


def _fields(facts: Facts) -> list[str]:
    said = [f"{spoken(fact)} {number(found['value'])} {found['unit']}" for fact, found in facts.items()]
    return [f"A field network draws a displacement and a change of color for every image: {listed(said)}."]


def _width(op: str, facts: Facts) -> str:
    """Return the ends of an interval, or the end of a range with both signs if the op is signed."""
    found = facts[op]
    if "lowest" in found:
        return f"{_digits(found['lowest'])} to {_digits(found['highest'])}"
    return _end(op, found["half_width"])


def _end(op: str, value: float) -> str:
    return f"{'±' if find_op(op).signed else ''}{_digits(value)}"


def _digits(value: float) -> str:
    size = abs(value)
    return "0.000" if size < _NOTHING else f"{value:#.3g}".rstrip(".") if size < 1000 else number(value)


def _in_words(op: str, facts: Facts) -> str:
    """Return the range with its unit; fractions in percent."""
    unit = str(facts[op]["unit"])
    if not unit.startswith("fraction of"):
        return f"{_width(op, facts)} {unit}"
    percent = {fact: 100 * facts[op][fact] for fact in ("half_width", "lowest", "highest") if fact in facts[op]}
    return f"{_width(op, {op: percent})} % {unit.removeprefix('fraction ')}"


def learned_table(facts: Facts) -> Table:
    """Return the policy as a table, the strongest op first."""
    kind = kind_of(facts)
    if kind == "fields":
        rows = [[spoken(fact), number(found["value"]), found["unit"]] for fact, found in facts.items()]
        return Table("What the fields do to a batch, on average", ["Fact", "Value", "Unit"], rows, frozenset({0, 2}))
    mixture = kind == "mixture"
    strength = "strength" if mixture else "half_width"
    share = {op: found[strength] / found["bound"] if found["bound"] else 0.0 for op, found in facts.items()}
    rank = {op: found["probability"] if mixture else share[op] for op, found in facts.items()}
    rows = [
        [
            spoken(op),
            *([f"{100 * facts[op]['probability']:.1f} %"] if mixture else []),
            number(facts[op][strength]) if mixture else _width(op, facts),
            str(facts[op]["unit"]),
            number(facts[op]["bound"]),
            f"{100 * share[op]:.0f} %",
        ]
        for op in sorted(facts, key=lambda op: -rank[op])
    ]
    columns = ["Op", *(["Probability", "Mean strength"] if mixture else ["Range"]), "Unit", "Bound", "Of its bound"]
    caption = "How often each op is taken, and how strongly" if mixture else "Learned ranges"
    return Table(caption, columns, rows, frozenset({0, columns.index("Unit")}))


def class_table(facts: Facts, class_names: Sequence[str]) -> Table | None:
    """Return the table of ranges of every class; None for a policy without them."""
    if any("half_widths" not in found for found in facts.values()):
        return None
    rows = [[name, *(_end(op, facts[op]["half_widths"][k]) for op in facts)] for k, name in enumerate(class_names)]
    columns = ["Class", *(f"{spoken(op).capitalize()}, {found['unit']}" for op, found in facts.items())]
    return Table("Learned ranges of each class", columns, rows, folded=len(rows) > 20)


def history_of(folder: Path, net: AugNet[Any, Any]) -> dict[int, dict[str, float]]:
    """Read the policy of a run over time from `metrics.csv`: step -> op -> share of its bound, probability, or value.

    Empty if nothing was logged.
    """
    path = folder / "metrics.csv"
    if not path.is_file() or not net.policy.logged:
        return {}
    facts, (fact, group) = net.describe(), next(iter(net.policy.logged.items()))
    scale = {op: found["bound"] if fact == "half_width" else 1.0 for op, found in facts.items()}
    history: dict[int, dict[str, float]] = {}
    with path.open(newline="", errors="replace") as file:
        for row in csv.DictReader(file):
            found = {op: row.get(f"{group}/{op}") for op in scale}
            try:
                step = int(float(row.get("step") or ""))
                values = {op: float(value) / scale[op] for op, value in found.items() if value}
            except (TypeError, ValueError):
                continue  # a row that was cut off
            if len(values) == len(scale):
                history[step] = values
    return history
