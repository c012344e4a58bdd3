"""Solves whose steps use bfloat16 products: as accurate as without, whatever the products do."""

import pytest
import torch
from influence_cases import case
from torch import Tensor

from influence import LastLayerHessian, loss_gradient, solve
from influence.solvers import half
from influence.solvers.conjugate_gradient import conjugate_gradient
from influence.solvers.half import HalfHessian, half_hessian
from influence.solvers.kronecker import kronecker_preconditioner


def problem(damping: float = 1e-2) -> tuple[LastLayerHessian, Tensor]:
    tiny = case(rows=200, features=20, classes=5)
    features, logits = tiny.features.float(), tiny.logits.float()
    hessian = LastLayerHessian(features, logits, damping=damping, weight_decay=1e-4)
    return hessian, loss_gradient(features[:50], logits[:50], tiny.targets[:50])


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Switch bfloat16 products on for any size and processor, and count them."""
    calls: list[int] = []
    product = HalfHessian.__matmul__

    def counted(self: HalfHessian, matrix: Tensor) -> Tensor:
        calls.append(1)
        return product(self, matrix)

    monkeypatch.setattr(half, "_SMALLEST", 0)
    monkeypatch.setattr(half, "_is_fast", lambda device: True)
    monkeypatch.setattr(HalfHessian, "__matmul__", counted)
    return calls


def test_products_are_those_of_the_hessian_up_to_rounding() -> None:
    hessian, gradient = problem()
    rounded = HalfHessian(hessian)
    error = rounded @ gradient - hessian @ gradient
    assert 0 < error.norm() < 1e-2 * (hessian @ gradient).norm()
    gram = (hessian.rows * hessian.row_weights[:, None]).T @ hessian.rows
    torch.testing.assert_close(rounded.gram(hessian.row_weights), gram, rtol=0, atol=float(1e-2 * gram.abs().max()))


@pytest.mark.parametrize("method", ["cg", "kronecker_cg"])
@pytest.mark.parametrize("tol", [1e-3, 1e-5])
def test_a_solve_meets_its_tolerance_in_float32(used: list[int], method: str, tol: float) -> None:
    hessian, gradient = problem()
    solution = solve(hessian, gradient, method, tol, 1000)  # type: ignore[arg-type]
    assert used
    assert solution.converged
    residual = (hessian @ solution.value - gradient).norm() / gradient.norm()
    assert float(residual) == pytest.approx(solution.relative_residual, rel=1e-2)
    exact = torch.linalg.solve(hessian.dense().double(), gradient.double().flatten()).view_as(gradient)
    assert (solution.value - exact).norm() < 100 * tol * exact.norm()


def test_a_warm_start_is_refined(used: list[int]) -> None:
    hessian, gradient = problem()
    first = solve(hessian, gradient, "cg", 1e-2)
    cold = solve(hessian, gradient, "cg", 1e-4)
    warm = solve(hessian, gradient, "cg", 1e-4, initial=first.value)
    assert warm.converged
    assert warm.iterations < cold.iterations


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), 1e3])
def test_useless_products_cost_time_and_not_the_solution(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    hessian, gradient = problem()
    rounded = HalfHessian(hessian)
    inverse = kronecker_preconditioner(hessian)
    monkeypatch.setattr(HalfHessian, "__matmul__", lambda self, matrix: factor * (self.hessian @ matrix))
    value, _, error = conjugate_gradient(hessian, gradient, 1e-4, 500, None, inverse, rounded)
    assert error is not None
    assert error <= 1e-4
    assert (hessian @ value - gradient).norm() <= 1.01e-4 * gradient.norm()


def test_small_or_float64_problems_and_plain_processors_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    hessian, _ = problem()
    assert half_hessian(hessian) is None  # small
    monkeypatch.setattr(half, "_SMALLEST", 0)
    monkeypatch.setattr(half, "_is_fast", lambda device: False)
    assert half_hessian(hessian) is None
    monkeypatch.setattr(half, "_is_fast", lambda device: True)
    assert half_hessian(hessian) is not None
    tiny = case()
    assert half_hessian(LastLayerHessian(tiny.features, tiny.logits)) is None  # float64
