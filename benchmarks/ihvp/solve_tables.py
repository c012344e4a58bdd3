"""The results as tables: on the terminal, and in Markdown with what is met and what is missed."""

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ihvp.cases import TARGET
from benchmarks.ihvp.peers import ROWS as PEERS
from benchmarks.ihvp.peers import TUNED

AUTO = "augfluence auto"
Result = dict[str, Any]
Grid = tuple[str, list[str], list[list[str]]]  # title, columns, rows

_REACHED = 1.1 * TARGET  # libraries that stop by their own float32 residual end a little above it
_HEADS = ["method", "CPU s", "relative residual", "peak MB", "cosine", "iterations", "remark"]
_IMAGE_HEADS = ["way", "CPU s an image", "MB an image", "images at once", "largest difference", "remark"]
_LOOP_HEADS = ["case", "steps between", "cold CPU s", "warm CPU s", "cold iterations", "warm iterations", "saves"]


def solves(results: list[Result]) -> Grid:
    """Return all rows of one shape and damping; a residual above 1 is worse than a vector of zeros."""
    first, rows = results[0], []
    for r in results:
        if "failed" in r:
            rows.append([r["row"], "-", "-", "-", "-", "-", r["failed"]])
            continue
        cosine = "-" if r["cosine"] is None else f"{r['cosine']:.3f}"
        iterations = "-" if r["iterations"] is None else str(r["iterations"])
        numbers = [_seconds(r["seconds"]), f"{r['residual']:.1e}", f"{r['megabytes']:.0f}", cosine, iterations]
        rows.append([r["row"], *numbers, r["remark"]])
    return f"{_case(first)} damping 1e-2", _HEADS, rows


def images(results: list[Result]) -> Grid:
    """Return the costs of the path to the image."""
    rows = []
    for r in results:
        if "failed" in r:
            rows.append([r["row"], "-", "-", "-", "-", r["failed"]])
            continue
        numbers = [f"{r['seconds']:.2g}", f"{r['megabytes']:.1f}", str(r["batch"]), f"{r['difference']:.0e}"]
        rows.append([r["row"], *numbers, ""])
    return "Gradient of the influence in the pixels (3 x 32 x 32, D=128, K=10)", _IMAGE_HEADS, rows


def loops(results: list[Result]) -> Grid:
    """Return the savings of a warm start."""
    rows = []
    for r in results:
        if "failed" in r:
            rows.append([_case(r), r["failed"], *["-"] * 5])
            continue
        for steps in sorted(int(key.removeprefix("cold ")) for key in r if key.startswith("cold ")):
            cold, warm = r[f"cold {steps}"], r[f"warm {steps}"]
            saved = f"{1 - warm['seconds'] / cold['seconds']:.0%}" if cold["seconds"] > 0 else "-"  # below the clock
            both = [_seconds(cold["seconds"]), _seconds(warm["seconds"])]
            both += [str(cold["iterations"]), str(warm["iterations"])]
            rows.append([_case(r), str(steps), *both, saved])
    return "Warm start from the solution before some steps of SGD", _LOOP_HEADS, rows


def summary(groups: list[list[Result]]) -> Grid:
    """`auto` beside the fastest general library that reaches the residual by itself."""
    heads = ["case", "auto: CPU s", "residual", "peak MB", "chose", "fastest library", "its CPU s", "ratio"]
    rows = []
    for results in groups:
        (auto,) = (r for r in results if r["row"] == AUTO)
        peer = fastest_library(results)
        row = [_case(results[0])]
        if "failed" in auto:
            row += ["-", "-", "-", auto["failed"]]
        else:
            chosen = auto["remark"].removeprefix("chose ")
            row += [_seconds(auto["seconds"]), f"{auto['residual']:.1e}", f"{auto['megabytes']:.0f}", chosen]
        row += ["none reaches it", "-"] if peer is None else [peer["row"], _seconds(peer["seconds"])]
        ratio = speedup(results)
        rows.append([*row, "-" if ratio is None else f"{ratio:.1f} x"])
    return "Summary", heads, rows


def reached(result: Result) -> bool:
    """Return whether a row ended with the residual asked for."""
    return "failed" not in result and result["residual"] <= _REACHED


def fastest_library(results: list[Result]) -> Result | None:
    """Return the fastest peer that reaches the residual without being told beforehand how many steps that takes."""
    own = [r for r in results if r["row"] in PEERS and r["row"] != TUNED and reached(r)]
    return min(own, key=lambda r: float(r["seconds"]), default=None)


def speedup(results: list[Result]) -> float | None:
    """Return seconds of the fastest library over those of `auto`; None if one misses the residual or is too short."""
    (auto,) = (r for r in results if r["row"] == AUTO)
    peer = fastest_library(results)
    return peer["seconds"] / auto["seconds"] if peer is not None and reached(auto) and auto["seconds"] > 0 else None


def show(console: Console, grid: Grid) -> None:
    """Print a table."""
    title, heads, rows = grid
    drawn = Table(title=title)
    for head in heads:
        drawn.add_column(head, justify="left" if head in ("method", "way", "case", "remark") else "right")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def markdown(grid: Grid) -> str:
    """Return a table in Markdown."""
    title, heads, rows = grid
    lines = [heads, ["---"] * len(heads), *rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
    return f"## {title}\n\n{table}\n"


def goals(groups: list[list[Result]]) -> str:
    """Return a line for each goal: 10 x at relative damping on the small shapes, 3 x at absolute damping, 4 GiB."""
    lines = []
    for results in groups:
        relative, large = results[0]["mode"] == "relative", results[0]["features"] * results[0]["classes"] > 1e6
        if relative and large:
            continue
        wanted, ratio = (10.0 if relative else 3.0), speedup(results)
        verdict = "missed" if ratio is None or ratio < wanted else "met"
        found = "no ratio" if ratio is None else f"{ratio:.1f} x"
        lines.append(f"- {_case(results[0])} damping: at least {wanted:.0f} x is **{verdict}** ({found}).")
    memory = [r["megabytes"] for results in groups for r in results if r["row"] == AUTO and "failed" not in r]
    if memory:
        verdict = "met" if max(memory) <= 4096 else "missed"
        lines.append(f"- At most 4 GiB above the data: **{verdict}** ({max(memory):.0f} MB).")
    return "## Goals\n\n" + "\n".join(lines) + "\n"


def _case(result: Result) -> str:
    return f"D={result['features']} K={result['classes']}, {result['mode']}"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
