"""`python -m benchmarks.augment`: images per second on the CPU, ours beside torchvision, kornia and albumentations.

Writes `benchmarks/results/augment.json` and `augment.md`. A library that is missing is listed as such
(`pip install '.[bench]'`).
"""

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from augnet.atomic_file import write_atomically
from benchmarks.augment.cases import CASES, QUICK, Case
from benchmarks.augment.ours import LEARNABLE, STEP, training_step
from benchmarks.augment.ours import ROWS as OURS
from benchmarks.augment.peers import ROWS as PEERS
from benchmarks.augment.timing import seconds
from benchmarks.environment import versions

PACKAGES = ("torch", "torchvision", "kornia", "albumentations")
_SHARES = ("trivial_augment", "flip_crop+trivial_augment", "ranges, forward")


def environment(threads: int) -> dict[str, Any]:
    """Machine, threads and packages."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, shared with other work"
    return {"machine": machine, "threads": threads, **versions(PACKAGES)}


def measure(case: Case, rounds: int, limit: float) -> list[dict[str, Any]]:
    """One row a method: seconds for the batch, images per second, how many times faster our like row is."""
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
    """The tables as text."""
    lines = [
        "# Augmentation, images per CPU second",
        "",
        "`python -m benchmarks.augment`. CPU seconds, medians of calls in turn; "
        + ", ".join(f"{k} {v}" for k, v in setting.items()),
        f"`ranges` is the learnable policy with all {len(LEARNABLE)} spatial and colour ops: {', '.join(LEARNABLE)}.",
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


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small batch, two calls, to see that it works")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch; with more, seconds are added up")
    parser.add_argument("--rounds", type=int, default=31, help="calls of each row")
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many batches, smallest first")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for a row, after which it has fewer calls")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/augment.json"), help="JSON; beside it .md"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    setting, rows = environment(options.threads), []
    for case in QUICK if options.quick else CASES[: options.cases]:
        rows += measure(case, 2 if options.quick else options.rounds, options.limit)
    text = markdown(setting, rows)
    write_atomically(options.output, json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")
    write_atomically(options.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
