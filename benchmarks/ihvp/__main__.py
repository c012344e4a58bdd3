"""`python -m benchmarks.ihvp`: one table of inverse-Hessian-vector products, ours beside general libraries.

Each row is measured in a process of its own and kept under `--folder`, so that an interrupted run goes on. A library
that is missing, fails or takes too long is listed as such. Two more tables: what a warm start saves inside a training
loop, and the path from a solution to the pixels. Writes `ihvp.json` and `ihvp.md` into `--output`.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli
from rich.console import Console

from augnet.atomic_file import write_atomically
from benchmarks.environment import environment
from benchmarks.ihvp import solve_tables as tables
from benchmarks.ihvp.cases import MODES, QUICK, SHAPES, Shape
from benchmarks.ihvp.image import ROWS as IMAGE_ROWS
from benchmarks.ihvp.ours import ROWS as OURS
from benchmarks.ihvp.peers import ROWS as PEERS
from benchmarks.ihvp.reference import LARGE
from benchmarks.ihvp.rows import in_rounds
from benchmarks.ihvp.solve_tables import AUTO, Result

PACKAGES = ("torch", "curvlinops-for-pytorch", "pyDVL", "captum", "dattri")


def specs(kind: str, rows: list[str], shape: Shape, mode: str, limit: float) -> list[dict[str, Any]]:
    """Return the specifications for the worker, one a row."""
    shared = {"kind": kind, "shape": asdict(shape), "mode": mode, "limit": limit}
    return [shared | {"row": row} for row in rows]


def write(folder: Path, groups: list[list[Result]], loops: list[Result], images: list[Result]) -> None:
    """Write the JSON, and the same in Markdown."""
    setting = environment(PACKAGES, threads=1)
    everything = {
        "setting": setting,
        "rows": [row for rows in groups for row in rows],
        "loops": loops,
        "images": images,
    }
    write_atomically(folder / "ihvp.json", json.dumps(everything, indent=1) + "\n")
    heading = "# Inverse-Hessian-vector products of a last layer\n\n" + _PREFACE.format(
        setting="; ".join(f"{name}: {value}" for name, value in setting.items())
    )
    grids = [tables.summary(groups), *map(tables.solves, groups), tables.loops(loops), tables.images(images)]
    parts = [heading, tables.goals(groups), *map(tables.markdown, grids)]
    write_atomically(folder / "ihvp.md", "\n".join(parts))


def ihvp(
    quick: bool = False,
    shapes: int = len(SHAPES),
    limit: float = 300.0,
    rounds: int = 1,
    folder: Path = Path("runs/benchmark-ihvp"),
    output: Path = Path("benchmarks/results"),
) -> None:
    """Measure the rows that are missing, print the tables, and write them.

    Args:
        quick: Measure one tiny shape in one process, to see that it works.
        shapes: Number of shapes, smallest first.
        limit: CPU seconds for a row.
        rounds: Rounds of all rows; medians are shown.
        folder: Keeps the rows.
        output: Folder of JSON and Markdown.
    """
    console, chosen, apart = Console(width=140), (QUICK,) if quick else SHAPES[:shapes], not quick
    groups: list[list[Result]] = []
    loops: list[Result] = []
    for shape in chosen:
        for mode in MODES:
            asked = specs("solve", [*OURS, *PEERS], shape, mode, limit)
            groups.append(in_rounds(asked, folder, rounds, apart))
            tables.show(console, tables.solves(groups[-1]))
            if mode == "relative" and shape.unknowns > LARGE:
                continue  # eight solves of hundreds of products each
            loops += in_rounds(specs("loop", [AUTO], shape, mode, limit), folder, 1, apart)
    asked = [{"kind": "image", "row": row, "limit": limit} for row in IMAGE_ROWS]
    images = in_rounds(asked, folder, rounds, apart)
    for grid in (tables.loops(loops), tables.images(images), tables.summary(groups)):
        tables.show(console, grid)
    write(output, groups, loops, images)


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    auto_cli(ihvp, args=args, prog="python -m benchmarks.ihvp")


_PREFACE = """{setting}.

One solve over N = 4096 synthetic rows (seed 0), the same features, head, gradient and damping for all; target: relative
residual 1e-3. CPU seconds of one thread, operator and solve together; peak memory above the data; residual and cosine
in float64, computed alike for all. A residual above 1 is worse than a vector of zeros. "hindsight": the number of steps
was found before the clock started, which nobody can do for a new problem, so the row does not count as a library
that reaches the residual. Made by `make bench-ihvp`.
"""

if __name__ == "__main__":
    main()
