"""Measure one row in a process of its own: `python -m benchmarks.ihvp.worker '{"row": ..., ...}'` prints JSON.

CPU seconds of one thread (`time.process_time`, operator and solve, median of up to 5), the peak of memory above
what the process held before the first run, and, after the clock, the float64 residual and cosine. A tiny case runs
first, so that lazy imports and thread pools are not counted.
"""

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.ihvp import image, loop
from benchmarks.ihvp.cases import QUICK, Shape, load
from benchmarks.ihvp.ours import ROWS as OURS
from benchmarks.ihvp.ours import DoesNotApplyError
from benchmarks.ihvp.peers import ROWS as PEERS
from benchmarks.ihvp.peers import TUNED
from benchmarks.ihvp.reference import exact, hindsight
from benchmarks.memory import memory, reset_peak

REPETITIONS = 5
BUDGET = 5.0  # CPU seconds after which no repetition starts


def measured(call: Callable[[], Any], limit: float) -> dict[str, Any]:
    """Run `call` up to five times; the process dies by SIGXCPU at the limit, which the parent reports."""
    reset_peak()
    start = memory("VmRSS")
    seconds: list[float] = []
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + limit) + 1, hard))
    result, peak = None, 0.0
    while len(seconds) < REPETITIONS and sum(seconds) < BUDGET:
        before = time.process_time()
        result = call()
        seconds.append(time.process_time() - before)
        peak = peak or memory("VmHWM") - start
    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, hard))
    return {"result": result, "seconds": median(seconds), "runs": len(seconds), "megabytes": max(peak, 0.0)}


def solve_row(name: str, shape: Shape, mode: str, folder: Path, limit: float) -> dict[str, Any]:
    """Measure one method on one case."""
    row = (OURS | PEERS)[name]
    case, tiny = load(shape, folder), load(QUICK, folder)
    gradient, damping = case.gradient(), case.damping(mode)
    row(tiny, tiny.gradient(), tiny.damping("absolute"))
    if name == TUNED:
        hindsight(case, damping)
    figures = measured(lambda: row(case, gradient, damping), limit)
    value, iterations, remark = figures.pop("result")
    reference = exact(case, mode, folder)
    return figures | {
        "iterations": iterations,
        "remark": remark,
        "residual": case.residual(value, gradient, damping),
        "cosine": None if reference is None else _cosine(value, reference),
    }


def _cosine(value: Tensor, reference: Tensor) -> float:
    value = value.double()
    return float((value * reference).sum() / (value.norm() * reference.norm()))


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Dispatch a specification to its kind of row; failures become entries."""
    folder = Path(spec["folder"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if spec["kind"] == "image":
                return image.measure(spec["row"], measured, spec["limit"])
            shape = Shape(**spec["shape"])
            if spec["kind"] == "loop":
                return loop.measure(shape, spec["mode"], folder)
            return solve_row(spec["row"], shape, spec["mode"], folder, spec["limit"])
    except DoesNotApplyError as error:
        return {"failed": f"does not apply: {error}"}
    except ModuleNotFoundError as error:
        return {"failed": f"not installed: {error.name}"}
    except Exception as error:
        return {"failed": f"fails: {type(error).__name__}: {str(error)[:120]}"}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("RESULT " + json.dumps(run(json.loads(sys.argv[1]))), flush=True)
