import pytest
import torch
from influence_cases import case, clusters
from solver_problems import ill_conditioned, in_single_precision
from torch import Tensor

from influence import LastLayerHessian, loss_gradient, solve
from influence.solvers import Method


@pytest.mark.parametrize("method", ["cholesky", "cg", "kronecker_cg"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 6e-7])
def test_float32_reaches_a_tolerance_near_its_precision(method: Method, tol: float) -> None:
    """Conjugate gradients get there by restarts: their own residual drifts from the true one before."""
    for damping in (1e-2, 1e-3, 1e-4):
        hessian, gradient = ill_conditioned()
        single = in_single_precision(hessian, damping)
        solution = solve(single, gradient.float(), method, tol=tol, max_iterations=2000)
        assert solution.converged
        assert solution.value.dtype == torch.float32


@pytest.mark.parametrize("damping", [1e-2, 1e-4, 1e-6])
def test_woodbury_in_float32_survives_small_damping(damping: float) -> None:
    layer = case(rows=8, features=40)
    features, logits = layer.features.float(), layer.logits.float()
    hessian = LastLayerHessian(features, logits, damping=damping)
    gradient = loss_gradient(features, logits, layer.targets.roll(1))
    solution = solve(hessian, gradient, "woodbury", tol=1e-4)
    assert solution.converged
    assert solution.value.dtype == torch.float32


def test_autocast_around_changes_no_bit() -> None:
    features, labels = clusters(64, seed=0)
    features, logits = features.float(), features[:, :3].float()
    gradient = loss_gradient(features, logits, labels)

    def values() -> list[Tensor]:
        hessian = LastLayerHessian(features, logits)
        methods: list[Method] = ["cholesky", "cg", "kronecker_cg", "ekfac"]
        return [solve(hessian, gradient, method).value for method in methods]

    expected = values()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = values()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
