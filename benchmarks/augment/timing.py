"""Interleaved medians: one call of every row in turn, so that a busy minute of the machine hits all alike.

CPU seconds, which other processes on the machine change less than those on the clock.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch

from benchmarks.augment.cases import Case

Make = Callable[[Case], Callable[[], Any]]


def seconds(rows: Mapping[str, Make], case: Case, rounds: int, limit: float) -> dict[str, float | str]:
    """Median CPU seconds of a call of each row, or why there is none.

    Args:
        rows: By name, what builds the call for a case.
        case: The batch.
        rounds: Calls of each row, after one that is not counted.
        limit: Seconds that one row may take in all; a slow row has fewer calls.
    """
    torch.manual_seed(0)
    calls: dict[str, Callable[[], Any]] = {}
    results: dict[str, float | str] = {}
    for name, make in rows.items():
        try:
            calls[name] = make(case)
            _timed(calls[name])
        except ImportError as error:
            results[name] = f"not installed: {error.name}"
            calls.pop(name, None)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            if not taken[name] or sum(taken[name]) < limit:
                taken[name].append(_timed(call))
    return results | {name: median(values) for name, values in taken.items()}


def _timed(call: Callable[[], Any]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        call()
        return time.process_time() - start
