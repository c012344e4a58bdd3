import pytest
import torch
from influence_cases import case
from solver_problems import ill_conditioned

from influence import ConvergenceWarning, solve
from influence.solvers.neumann import largest_eigenvalue_bound


@pytest.mark.parametrize("damping", [1e-2, 10.0])
@pytest.mark.parametrize("decay", ["none", "columns"])
def test_the_bound_of_the_spectrum_holds_and_is_not_far(damping: float, decay: str) -> None:
    hessian = case(decay=decay, weighted=True).hessian(damping=damping)
    largest = float(torch.linalg.eigvalsh(hessian.dense())[-1])
    assert largest <= largest_eigenvalue_bound(hessian) < 2 * largest


def test_a_hundred_neumann_terms_are_not_enough_where_conjugate_gradients_are() -> None:
    hessian, gradient = ill_conditioned(damping=1e-2)
    with pytest.warns(ConvergenceWarning, match=r"another method \(cg\)"):
        series = solve(hessian, gradient, "neumann", max_iterations=100)
    assert series.relative_residual > 10 * solve(hessian, gradient, "cg", max_iterations=100).relative_residual
