import warnings

import pytest
import torch
from influence_cases import case, close
from solver_problems import exact, ill_conditioned, in_single_precision, problem
from torch import Tensor

from influence import ConvergenceWarning, LastLayerHessian, solve
from influence.solvers import Method, conjugate_gradient

CONTROLS: list[Method] = ["identity", "kfac", "ekfac"]


@pytest.mark.parametrize("method", ["cg", "kronecker_cg", "dominant_cg", "neumann"])
def test_too_few_iterations_are_flagged_and_warned_of_once(method: Method) -> None:
    hessian, gradient = ill_conditioned()
    with pytest.warns(ConvergenceWarning, match=rf"{method} stopped after 2 .*tol=1.0e-06") as caught:
        solution = solve(hessian, gradient, method, tol=1e-6, max_iterations=2)
    assert len(caught) == 1
    assert "max_iterations" in str(caught[0].message)
    assert "damping" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert not solution.converged
    assert solution.iterations == 2
    assert solution.relative_residual > 1e-6


@pytest.mark.parametrize("method", CONTROLS)
def test_controls_neither_warn_nor_claim_to_converge(method: Method) -> None:
    hessian, gradient = ill_conditioned()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution = solve(hessian, gradient, method)
    assert not solution.converged
    assert solution.method == method


def test_cut_short_the_iterate_is_the_best_of_its_space() -> None:
    """Progress is kept although the residual may exceed 1: the energy falls with every iteration."""
    hessian, gradient = ill_conditioned(damping=1e-4)
    energies = []
    for iterations in (1, 2, 4, 8, 16):
        with pytest.warns(ConvergenceWarning):
            value = solve(hessian, gradient, "cg", tol=1e-9, max_iterations=iterations).value
        energies.append(float((value * (hessian @ value) / 2 - value * gradient).sum()))
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < energies[0] < 0


def test_restarts_end_where_rounding_forbids_progress() -> None:
    hessian, gradient = ill_conditioned()
    single = in_single_precision(hessian, damping=1e-3)
    with pytest.warns(ConvergenceWarning):
        solution = solve(single, gradient.float(), "cg", tol=1e-12, max_iterations=100_000)
    assert solution.relative_residual < 1e-3
    assert solution.iterations < 20_000


@pytest.mark.parametrize("tol", [1e-3, 1e-9])
def test_reading_the_residual_seldom_gives_the_same_solution(tol: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator; exact convergence between two readings is no breakdown."""
    hessian, gradient = problem(case(rows=40))
    often = solve(hessian, gradient, "cg", tol=tol)
    monkeypatch.setitem(conjugate_gradient._CHECK_EVERY, "cpu", 25)
    seldom = solve(hessian, gradient, "cg", tol=tol)
    assert seldom.iterations % 25 == 0
    assert seldom.iterations > often.iterations
    assert seldom.converged
    close(seldom.value, exact(hessian, gradient), 1e-6)


def test_refinement_ends_when_it_no_longer_helps() -> None:
    hessian, gradient = problem(case())
    with pytest.warns(ConvergenceWarning):
        solution = solve(hessian, gradient, "cholesky", tol=1e-30)
    assert 2 <= solution.iterations < 4
    assert solution.relative_residual < 1e-14


@pytest.mark.parametrize("method", ["cg", "kronecker_cg", "dominant_cg", "cholesky"])
def test_an_indefinite_operator_breaks_down_to_a_finite_flagged_value(method: Method) -> None:
    hessian, gradient = problem(case())
    inverse_needs = hessian.diagonal.clone()
    dense, product = hessian.dense() - 10 * torch.eye(15).double(), type(hessian).__matmul__

    class Indefinite(LastLayerHessian):
        def __matmul__(self, matrix: Tensor) -> Tensor:
            return product(self, matrix) - 10 * matrix

        def dense(self) -> Tensor:
            return dense

    broken = Indefinite(case().features, case().logits, damping=0.1)
    assert torch.equal(broken.diagonal, inverse_needs)
    with pytest.warns(ConvergenceWarning):
        solution = solve(broken, gradient, method)
    assert not solution.converged
    assert torch.equal(solution.value, torch.zeros_like(gradient))


def test_rows_fitted_beyond_float32_give_a_flagged_zero() -> None:
    """No curvature is left, hence no relative damping: no influence rather than an infinite one."""
    layer = case()
    logits = 500 * torch.nn.functional.one_hot(layer.targets, 3).float()
    hessian = LastLayerHessian(layer.features.float(), logits)
    assert hessian.damping == 0
    with pytest.warns(ConvergenceWarning, match="raise damping"):
        solution = solve(hessian, problem(layer)[1].float())
    assert not solution.value.any()
    assert not solution.converged


def test_a_gradient_outside_the_range_is_flagged() -> None:
    hessian, gradient = problem(case(rows=60), damping=0.0)
    with pytest.warns(ConvergenceWarning):
        solution = solve(hessian, gradient + 1.0, "cg")
    assert not solution.converged
    assert torch.isfinite(solution.value).all()
