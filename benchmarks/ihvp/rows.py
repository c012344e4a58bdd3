"""Measured rows: each in a process of its own, kept on disk, several rounds of all of them one after the other.

A round visits every row once, so that a slow minute of the machine meets all libraries alike; the median over the
rounds is reported. A row that takes long is not repeated.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from augnet.atomic_file import write_atomically
from benchmarks.ihvp.worker import run

_LONG = 10.0  # CPU seconds of a row that is measured once


def measure(spec: dict[str, Any], folder: Path, apart: bool = True) -> dict[str, Any]:
    """Measure the row that `spec` asks of the worker, or read what an earlier call measured.

    Not `apart`, it is measured in this process: at once, but with the memory that earlier rows have left.
    """
    shape = spec.get("shape", {})
    parts = [spec["kind"], spec["row"], *shape.values(), spec.get("mode", ""), spec["round"]]
    kept = folder / ("-".join(str(part) for part in parts).replace(" ", "_").replace("/", "_") + ".json")
    if kept.exists():
        result: dict[str, Any] = json.loads(kept.read_text())
        return result
    spec = spec | {"folder": str(folder / "cases")}
    figures = _apart(spec) if apart else run(spec)
    result = {"row": spec["row"], **shape, "mode": spec.get("mode"), **figures}
    write_atomically(kept, json.dumps(result))
    return result


def in_rounds(specs: list[dict[str, Any]], folder: Path, rounds: int, apart: bool = True) -> list[dict[str, Any]]:
    """Measure all rows in `rounds` rounds; the first result of each, with the median of its seconds."""
    first = [measure(spec | {"round": 0}, folder, apart) for spec in specs]
    seconds = [[result["seconds"]] if "seconds" in result else [] for result in first]
    for number in range(1, rounds):
        for spec, found in zip(specs, seconds, strict=True):
            if found and found[0] < _LONG:
                again = measure(spec | {"round": number}, folder, apart)
                found += [again["seconds"]] if "seconds" in again else []
    return [
        result | ({"seconds": median(found), "rounds": len(found)} if found else {})
        for result, found in zip(first, seconds, strict=True)
    ]


def _apart(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the output of a worker in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ihvp.worker", json.dumps(spec)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    lines = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    figures: dict[str, Any] = json.loads(lines[-1]) if lines else {"failed": _end(done, spec["limit"])}
    return figures


def _end(done: subprocess.CompletedProcess[str], limit: float) -> str:
    """Return the reason why a process ended without a result."""
    if done.returncode == -signal.SIGXCPU:
        return f"stopped at the limit of {limit:.0f} CPU seconds"
    last = done.stderr.strip().splitlines()[-1:] or [""]
    return f"ended with status {done.returncode}: {last[0][:120]}"
