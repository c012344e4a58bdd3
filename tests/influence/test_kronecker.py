from typing import Any

import pytest
import torch
from influence_cases import case, close
from solver_problems import ill_conditioned, problem
from torch import Tensor

from influence import LastLayerHessian, solve
from influence.solvers.kronecker import ekfac_inverse, kfac_inverse, kronecker_preconditioner


def as_matrix(inverse: Any, hessian: LastLayerHessian) -> Tensor:
    units = torch.eye(hessian.shape[0] * hessian.shape[1], dtype=torch.float64)
    return torch.stack([inverse(unit.view(hessian.shape)).flatten() for unit in units], dim=1)


def test_the_preconditioner_pays_for_small_damping_and_keeps_the_trace() -> None:
    hessian, gradient = ill_conditioned(damping=1e-3)
    plain = solve(hessian, gradient, "cg", tol=1e-5, max_iterations=1000)
    preconditioned = solve(hessian, gradient, "kronecker_cg", tol=1e-5)
    assert preconditioned.iterations < 0.5 * plain.iterations
    small, _ = problem(case(weighted=True))
    approximation = torch.linalg.inv(as_matrix(kronecker_preconditioner(small), small))
    assert float(approximation.trace()) == pytest.approx(float(small.dense().trace()), rel=1e-9)


@pytest.mark.parametrize("decay", ["none", "columns"])
def test_kronecker_forms_are_exact_when_all_rows_predict_alike(decay: str) -> None:
    layer = case(decay=decay, rows=30)
    logits = torch.tensor([[0.5, -1.0, 0.2]]).double().expand(30, 3)
    hessian = LastLayerHessian(layer.features, logits, damping=0.1, weight_decay=layer.decay)
    for inverse in (kfac_inverse(hessian), ekfac_inverse(hessian), kronecker_preconditioner(hessian)):
        close(as_matrix(inverse, hessian), torch.linalg.inv(hessian.dense()), 1e-9)


def test_ekfac_is_nearer_to_the_hessian_than_kfac() -> None:
    hessian, _ = problem(case(weighted=True))
    distances = [
        float((torch.linalg.inv(as_matrix(form(hessian), hessian)) - hessian.dense()).norm())
        for form in (ekfac_inverse, kfac_inverse)
    ]
    assert 0.01 < distances[0] < distances[1]
