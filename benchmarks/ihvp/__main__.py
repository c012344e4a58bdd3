"""`python -m benchmarks.ihvp`: one table of inverse-Hessian-vector products, ours beside general libraries.

Each row is measured in a process of its own and kept under `--folder`, so that an interrupted run goes on. A library
that is missing, fails or takes too long is listed as such. Writes `benchmarks/results/ihvp.json`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from augnet.atomic_file import write_atomically
from benchmarks.ihvp.cases import MODES, QUICK, SHAPES, Shape
from benchmarks.ihvp.ours import ROWS as OURS
from benchmarks.ihvp.peers import ROWS as PEERS

PACKAGES = ("torch", "curvlinops-for-pytorch", "pyDVL", "captum", "dattri")


def measure(row: str, shape: Shape, mode: str, folder: Path, limit: float) -> dict[str, Any]:
    """Measure one row, or read what an earlier call measured."""
    name = f"{row}-{shape.features}-{shape.classes}-{mode}".replace(" ", "_").replace("/", "_")
    kept = folder / f"{name}.json"
    if kept.exists():
        result: dict[str, Any] = json.loads(kept.read_text())
        return result
    cases = str(folder / "cases")
    spec = {"kind": "solve", "row": row, "shape": asdict(shape), "mode": mode, "folder": cases, "limit": limit}
    command = [sys.executable, "-m", "benchmarks.ihvp.worker", json.dumps(spec)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    lines = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    figures = json.loads(lines[-1]) if lines else {"failed": f"stopped at the limit of {limit:.0f} CPU seconds"}
    result = {"row": row, **asdict(shape), "mode": mode, **figures}
    write_atomically(kept, json.dumps(result))
    return result


def table(shape: Shape, mode: str, results: list[dict[str, Any]]) -> Table:
    """One table for a shape and a damping; a residual above 1 is worse than a vector of zeros."""
    drawn = Table(title=f"D={shape.features} K={shape.classes}, {mode} damping 1e-2")
    for column in ("method", "CPU s", "residual", "MB", "cosine", "iterations", "remark"):
        drawn.add_column(column, justify="left" if column in ("method", "remark") else "right")
    for r in results:
        if "failed" in r:
            drawn.add_row(r["row"], "-", "-", "-", "-", "-", r["failed"])
            continue
        cosine = "-" if r["cosine"] is None else f"{r['cosine']:.3f}"
        iterations = "-" if r["iterations"] is None else str(r["iterations"])
        numbers = (f"{r['seconds']:.3f}", f"{r['residual']:.1e}", f"{r['megabytes']:.0f}", cosine, iterations)
        drawn.add_row(r["row"], *numbers, r["remark"])
    return drawn


def versions() -> dict[str, str]:
    """Machine and packages."""
    found = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread used"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def main() -> None:
    """Measure what is missing, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one tiny shape, to see that it works")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="how many shapes, smallest first")
    parser.add_argument("--limit", type=float, default=300.0, help="CPU seconds for a row")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-ihvp"), help="where rows are kept")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/ihvp.json"), help="JSON file")
    options = parser.parse_args()
    console, everything = Console(width=140), []
    for shape in (QUICK,) if options.quick else SHAPES[: options.shapes]:
        for mode in MODES:
            rows = [measure(row, shape, mode, options.folder, options.limit) for row in (OURS | PEERS)]
            console.print(table(shape, mode, rows))
            everything += rows
            write_atomically(options.output, json.dumps({"setting": versions(), "rows": everything}, indent=1) + "\n")


if __name__ == "__main__":
    main()
