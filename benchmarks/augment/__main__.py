"""`python -m benchmarks.augment`: images per second on the CPU, ours beside torchvision, kornia and albumentations.

Writes `benchmarks/results/augment.json` and `augment.md`. A library that is missing is listed as such
(`pip install '.[bench]'`).
"""

import json
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli

from augnet.atomic_file import write_atomically
from augnet.memory import keep_memory
from benchmarks.augment.cases import CASES, QUICK, Case
from benchmarks.augment.ours import LEARNABLE, STEP, training_step
from benchmarks.augment.ours import ROWS as OURS
from benchmarks.augment.peers import ROWS as PEERS
from benchmarks.augment.timing import seconds
from benchmarks.environment import environment

PACKAGES = ("torch", "torchvision", "kornia", "albumentations")
_SHARES = ("trivial_augment", "flip_crop+trivial_augment", "ranges, forward")


def measure(case: Case, rounds: int, limit: float) -> list[dict[str, Any]]:
    """Return one row for each method: seconds for the batch, images per second, the factor by which ours is faster."""
    makers = OURS | {name: make for name, (_, make) in PEERS.items()}
    if case.side == 32:
        makers = makers | {STEP: training_step}
    times = seconds(makers, case, rounds, limit)
    rows = []
    for name, taken in times.items():
        row: dict[str, Any] = {"case": case.name, "row": name}
        if isinstance(taken, str):
            rows.append(row | {"remark": taken})
            continue
        row |= {"seconds": taken, "images_per_second": case.count / taken}
        if name in PEERS:
            like = times[PEERS[name][0]]
            row |= {"like": PEERS[name][0], "ours_is_faster_by": taken / like if isinstance(like, float) else None}
        step = times.get(STEP)
        if name in _SHARES and isinstance(step, float):
            row["share_of_training_step"] = taken / step
        rows.append(row)
    return rows


def markdown(setting: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the tables in Markdown."""
    lines = [
        "# Augmentation, images per CPU second",
        "",
        "`python -m benchmarks.augment`. CPU seconds, medians of calls in turn; "
        + ", ".join(f"{k} {v}" for k, v in setting.items()),
        f"`ranges` is the learnable policy with all {len(LEARNABLE)} spatial and color ops: {', '.join(LEARNABLE)}.",
    ]
    for case in dict.fromkeys(row["case"] for row in rows):
        lines += ["", f"## {case}", "", "| method | ms | images/s | ours is faster by | share of a step |"]
        lines += ["|---|---:|---:|---:|---:|"]
        for row in (row for row in rows if row["case"] == case):
            if "remark" in row:
                lines.append(f"| {row['row']} | {row['remark']} | | | |")
                continue
            faster = f"{row['ours_is_faster_by']:.1f}x ({row['like']})" if "like" in row else ""
            share = f"{row['share_of_training_step']:.1%}" if "share_of_training_step" in row else ""
            numbers = f"{1e3 * row['seconds']:.2f} | {row['images_per_second']:,.0f}"
            lines.append(f"| {row['row']} | {numbers} | {faster} | {share} |")
    return "\n".join(lines) + "\n"


def augment(
    quick: bool = False,
    threads: int = 1,
    rounds: int = 31,
    cases: int = len(CASES),
    limit: float = 20.0,
    output: Path = Path("benchmarks/results/augment.json"),
) -> None:
    """Measure images per second of every row, print the tables, and write them.

    Args:
        quick: Measure one small batch with two calls, to see that it works.
        threads: CPU threads of torch; with more, seconds are added up.
        rounds: Calls of each row.
        cases: Number of batches, smallest first.
        limit: Seconds for a row, after which it has fewer calls.
        output: JSON file; the tables go beside it, as .md.
    """
    torch.set_num_threads(threads)
    kept = keep_memory()  # as the commands do, for all rows alike
    setting, rows = environment(PACKAGES, threads=threads) | {"freed memory kept": kept}, []
    for case in QUICK if quick else CASES[:cases]:
        rows += measure(case, 2 if quick else rounds, limit)
    text = markdown(setting, rows)
    write_atomically(output, json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")
    write_atomically(output.with_suffix(".md"), text)
    print(text)


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    auto_cli(augment, args=args, prog="python -m benchmarks.augment")


if __name__ == "__main__":
    main()
