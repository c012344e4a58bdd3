"""Inverse-Hessian-vector products of the last layer, one file per family of methods."""

from influence.solvers.dispatch import Method, choose, solve
from influence.solvers.solution import ConvergenceWarning, Solution

__all__ = ["ConvergenceWarning", "Method", "Solution", "choose", "solve"]
