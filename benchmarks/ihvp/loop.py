"""Savings of a warm start inside a training loop.

The head is solved for once; then it takes SGD steps (batch 128, learning rate 0.01, fixed features), and the
system of the moved head, Hessian and gradient of the same held-out rows alike, is solved from zero and from the
old solution.
"""

import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.ihvp.cases import Case, Shape, load, with_bias
from benchmarks.ihvp.ours import solved

BATCH, RATE = 128, 0.01
STEPS = (1, 100)
_REPETITIONS = 3


def moved(case: Case, steps: int) -> Tensor:
    """Return the head after some steps of SGD."""
    generator = torch.Generator().manual_seed(case.shape.seed)
    head = case.head.clone()
    for _ in range(steps):
        chosen = torch.randint(len(case.features), (BATCH,), generator=generator)
        rows = with_bias(case.features[chosen])
        error = (rows @ head.T).softmax(dim=1) - F.one_hot(case.labels[chosen], head.shape[0])
        head -= RATE * error.T @ rows / BATCH
    return head


def measure(shape: Shape, mode: str, folder: Path) -> dict[str, Any]:
    """Return seconds and iterations of both solves after 1 and after 100 steps."""
    case = load(shape, folder)
    damping = case.damping(mode)
    first = solved("auto", case, case.gradient(), damping)
    figures: dict[str, Any] = {"method": first.method}
    for steps in STEPS:
        head = moved(case, steps)
        gradient = case.gradient(head)
        for name, start in (("cold", None), ("warm", first.value)):
            seconds = []
            for _ in range(_REPETITIONS):
                before = time.process_time()
                solution = solved("auto", case, gradient, damping, head, start)
                seconds.append(time.process_time() - before)
            figures[f"{name} {steps}"] = {
                "seconds": sorted(seconds)[_REPETITIONS // 2],
                "iterations": solution.iterations,
                "residual": solution.relative_residual,
            }
    return figures
