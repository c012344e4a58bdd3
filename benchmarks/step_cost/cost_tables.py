"""From raw blocks to ratios, and to Markdown."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from benchmarks.step_cost.arms import ARMS
from benchmarks.step_cost.rounds import Row

SLOWER, LARGER = 1.25, 1.1  # the goal: learned / plain in time and in memory
_PEERS = ("torchvision_2", "torchvision_0", "kornia_per_sample", "kornia")
_HEADS = (
    "s / step (quartiles)",
    "time / reference (quartiles)",
    "peak MiB above the libraries",
    "/ reference",
    "of the whole process",
    "/ reference",
)


def summarised(rows: Sequence[Row]) -> list[Row]:
    """Rows of one group, each with what is compared with its reference: the row without a policy, otherwise alike.

    Args:
        rows: As `measure` returns them.

    Returns:
        The rows, with `seconds_per_step` and, where the reference was measured, `time_ratio` (both `{median, lower,
        upper}` over the rounds; a ratio is of two blocks of one round), `memory_ratio` (peaks above what the libraries
        take) and `process_ratio` (whole processes).
    """
    return [row | {"seconds_per_step": spread(per_step(row))} | _ratios(row, _reference(row, rows)) for row in rows]


def per_step(row: Row) -> list[float]:
    """Return the seconds per step of each block."""
    return [seconds / row["block_steps"] for seconds in row["block_seconds"]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles.

    Example:
        >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
        {'median': 3.0, 'lower': 2.0, 'upper': 4.0}
    """
    lower, _, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"median": median(values), "lower": lower, "upper": upper}


def used(row: Row) -> tuple[float, float]:
    """Peak memory in MiB: above what the libraries take, and of the whole process; that of loading processes in both.

    Example:
        >>> used({"peak": 900.0, "baseline": 700.0, "loaders": 100.0})
        (300.0, 1000.0)
    """
    whole = row["peak"] + row["loaders"]
    return whole - row["baseline"], whole


def _reference(row: Row, rows: Sequence[Row]) -> Row | None:
    alike = [other for other in rows if all(other[key] == row[key] for key in ("model", "classes", "features"))]
    return next((other for other in alike if other["arm"] == ARMS[row["arm"]].reference), None)


def _ratios(row: Row, reference: Row | None) -> Row:
    if reference is None:
        return {}
    times = [ours / theirs for ours, theirs in zip(per_step(row), per_step(reference), strict=True)]
    above, whole = (ours / theirs for ours, theirs in zip(used(row), used(reference), strict=True))
    return {"time_ratio": spread(times), "memory_ratio": above, "process_ratio": whole}


def table(rows: Sequence[Row], head: str, names: Sequence[str]) -> str:
    """Markdown: one row each.

    Args:
        rows: Summarised.
        head: Of the first column.
        names: What stands in it.
    """
    lines = [f"| {' | '.join((head, *_HEADS))} |", "| --- |" + " ---: |" * len(_HEADS)]
    for name, row in zip(names, rows, strict=True):
        above, whole = used(row)
        ratios = ["-", "-", "-"]
        if "time_ratio" in row:
            ratios = [_interval(row["time_ratio"], 2), f"{row['memory_ratio']:.2f}", f"{row['process_ratio']:.2f}"]
        seconds = _interval(row["seconds_per_step"], 4)
        cells = (name, seconds, ratios[0], f"{above:.0f}", ratios[1], f"{whole:.0f}", ratios[2])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def goals(rows: Sequence[Row]) -> str:
    """Return a line for each goal that is met or missed, of the models whose rows are there."""
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        arms = {row["arm"]: row for row in rows if row["model"] == model}
        ours = arms.get("learned")
        if ours is None or "time_ratio" not in ours:
            continue
        for text, value, limit in (
            ("time of learned / plain", ours["time_ratio"]["median"], SLOWER),
            ("memory of learned / plain", ours["memory_ratio"], LARGER),
        ):
            word = "met" if value <= limit else "missed"
            lines.append(f"- {model}, {text}: at most {limit} is **{word}** ({value:.2f}).")
        for arm in (arm for arm in _PEERS if arm in arms):
            pairs = zip(per_step(arms[arm]), per_step(ours), strict=True)
            ratio = median(theirs / mine for theirs, mine in pairs)
            word = "met" if ratio > 1 else "missed"
            lines.append(f"- {model}, faster than {ARMS[arm].text}: **{word}** ({ratio:.2f} x its time).")
    return "\n".join(lines) + "\n" if lines else ""


def caption(setting: Mapping[str, Any]) -> str:
    """Return the caption: meaning of the figures, and machine."""
    return _CAPTION.format(facts="; ".join(f"{name}: {value}" for name, value in setting.items()))


def _interval(values: Mapping[str, float], digits: int) -> str:
    middle, lower, upper = (f"{values[key]:.{digits}f}" for key in ("median", "lower", "upper"))
    return f"{middle} ({lower} - {upper})"


_CAPTION = """`python -m benchmarks.step_cost`. {facts}.

Real training (`Trainer.fit`, channels last, 32 x 32 x 3 random images), every arm in a process of its own.
They train in blocks, one arm at a time, in turn: a round has one block of each. A block of a learned arm holds whole
cycles of policy updates and solves. Seconds per step are seconds of a block / its steps, with loading, updates and all;
a ratio is that of two blocks of one round; median and quartiles over the rounds. The reference is the row without
augmentation above, of the same module, classes and features. Peak memory is the resident memory of the process
(`VmHWM`) over the whole training, with what loading processes have for themselves, once in full and once without what
the process held after a short training of the same kind on four images, which is libraries for the most part.
"""
