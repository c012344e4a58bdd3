"""Rows of the table: the methods of `influence.solve`.

A row takes a case, the right-hand side and the absolute damping, and returns the solution `[K, D+1]`, the number
of iterations (None where the library does not tell) and a remark.
"""

import warnings
from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from benchmarks.ihvp.cases import TARGET, Case
from influence import ConvergenceWarning, LastLayerHessian, Solution, solve
from influence.solvers import Method
from influence.solvers.direct import MAX_DENSE

Answer = tuple[Tensor, int | None, str]
Row = Callable[[Case, Tensor, float], Answer]

ITERATIONS = {"neumann": 1000}
MOST = 3000


class DoesNotApplyError(ValueError):
    """A method that cannot treat a case."""


def hessian_of(case: Case, damping: float, head: Tensor | None = None) -> LastLayerHessian:
    """Return the operator from features and head; the forward product is part of the cost."""
    head = case.head if head is None else head
    logits = F.linear(case.features, head[:, :-1], head[:, -1])
    return LastLayerHessian(case.features, logits, damping=damping, damping_mode="absolute")


def solved(
    method: Method,
    case: Case,
    gradient: Tensor,
    damping: float,
    head: Tensor | None = None,
    start: Tensor | None = None,
) -> Solution:
    """Return the solution of an operator, without the warning: the table shows the residual."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        most = ITERATIONS.get(method, MOST)
        return solve(hessian_of(case, damping, head), gradient, method, TARGET, most, initial=start)


def _row(method: Method, case: Case, gradient: Tensor, damping: float) -> Answer:
    sides = {"cholesky": case.shape.unknowns, "woodbury": case.shape.rows * case.shape.classes}
    if sides.get(method, 0) > MAX_DENSE:
        raise DoesNotApplyError(f"a matrix of {sides[method]:,} rows")
    solution = solved(method, case, gradient, damping)
    return solution.value, solution.iterations, f"chose {solution.method}" if method == "auto" else ""


_METHODS: tuple[Method, ...] = (
    "auto",
    "cg",
    "kronecker_cg",
    "dominant_cg",
    "cholesky",
    "woodbury",
    "neumann",
    "kfac",
    "ekfac",
)
ROWS: dict[str, Row] = {f"augfluence {method}": partial(_row, method) for method in _METHODS}
