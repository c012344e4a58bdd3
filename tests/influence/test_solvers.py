from typing import Any

import pytest
import torch
from influence_cases import case, close, clusters
from solver_problems import exact, ill_conditioned, problem
from torch import Tensor

from influence import LastLayerHessian, loss_gradient, solve
from influence.solvers import Method, choose

SOLVERS: list[Method] = ["auto", "cholesky", "woodbury", "cg", "kronecker_cg", "dominant_cg", "neumann"]
CONTROLS: list[Method] = ["identity", "kfac", "ekfac"]
PROBLEMS: dict[str, dict[str, Any]] = {
    "many rows": {"rows": 40},
    "few rows": {"rows": 3, "features": 7},
    "weighted, decay by column": {"weighted": True, "decay": "columns"},
    "decayed weights": {"decay": "weights", "classes": 5},
}


@pytest.mark.parametrize("options", PROBLEMS.values(), ids=PROBLEMS.keys())
@pytest.mark.parametrize("method", SOLVERS)
def test_every_solver_agrees_with_a_dense_solve(method: Method, options: dict[str, Any]) -> None:
    hessian, gradient = problem(case(**options))
    solution = solve(hessian, gradient, method, tol=1e-9, max_iterations=20_000)
    assert solution.converged
    assert solution.method == method or method == "auto"
    close(solution.value, exact(hessian, gradient), 1e-6)


@pytest.mark.parametrize("method", [*SOLVERS, *CONTROLS])
def test_the_residual_reported_is_the_true_one(method: Method) -> None:
    hessian, gradient = problem(case())
    solution = solve(hessian, gradient, method, tol=1e-2, max_iterations=20_000)
    found = hessian.dense() @ solution.value.flatten() - gradient.flatten()
    expected = float(found.norm() / gradient.norm())
    assert solution.relative_residual == pytest.approx(expected, rel=1e-6, abs=1e-14)
    assert solution.converged == (expected <= 1e-2)


@pytest.mark.parametrize("method", [*SOLVERS, *CONTROLS])
def test_columns_of_the_solution_sum_to_zero_over_classes(method: Method) -> None:
    hessian, gradient = problem(case(classes=5))
    value = solve(hessian, gradient, method, tol=1e-6, max_iterations=20_000).value
    assert value.sum(dim=0).abs().max() < 1e-12 * value.abs().max()


@pytest.mark.filterwarnings("ignore::influence.ConvergenceWarning")
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_conjugate_gradients_stay_in_the_subspace_even_undamped(iterations: int) -> None:
    hessian, gradient = problem(case(rows=60), damping=0.0)
    value = solve(hessian, gradient, "cg", tol=1e-12, max_iterations=iterations).value
    assert value.abs().max() > 0
    assert value.sum(dim=0).abs().max() < 1e-12 * value.abs().max()


def test_undamped_solution_is_the_pseudo_inverse() -> None:
    hessian, gradient = problem(case(rows=60), damping=0.0)
    solution = solve(hessian, gradient, tol=1e-10)
    assert solution.method == "cg"  # the only method for a singular matrix
    close(solution.value, (torch.linalg.pinv(hessian.dense()) @ gradient.flatten()).view_as(gradient), 1e-6)


def test_an_undecayed_bias_is_no_obstacle_for_cholesky() -> None:
    hessian, gradient = problem(case(decay="weights"), damping=0.0)
    solution = solve(hessian, gradient, tol=1e-10)
    assert solution.method == "cholesky"
    assert solution.converged


def test_a_warm_start_needs_fewer_iterations() -> None:
    hessian, gradient = ill_conditioned(damping=1e-1)
    cold = solve(hessian, gradient, "cg", tol=1e-6)
    nearby = cold.value * 1.001
    methods: list[Method] = ["cg", "kronecker_cg", "dominant_cg", "neumann"]
    for method in methods:
        fresh = solve(hessian, gradient, method, tol=1e-6, max_iterations=50_000)
        warm = solve(hessian, gradient, method, tol=1e-6, max_iterations=50_000, initial=nearby)
        assert warm.iterations < 0.7 * fresh.iterations
        assert warm.converged
    assert solve(hessian, gradient, "cg", tol=1e-5, initial=cold.value).iterations == 0


def test_averaging_solves_of_batches_inflates_the_solution() -> None:
    features, labels = clusters(400, seed=0, classes=4)
    logits = features @ torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradient = loss_gradient(features, logits, labels)

    def solved(rows: slice) -> Tensor:
        hessian = LastLayerHessian(features[rows], logits[rows], damping=1e-2, damping_mode="absolute")
        return solve(hessian, gradient, tol=1e-8).value

    aggregate = solved(slice(None))
    ratios = []
    for size in (10, 40, 200):
        mean = torch.stack([solved(slice(start, start + size)) for start in range(0, 400, size)]).mean(0)
        ratios.append(float(mean.norm() / aggregate.norm()))
    assert ratios[0] > 1.5
    assert ratios[0] > ratios[1] > ratios[2] > 1


def test_a_zero_gradient_has_the_zero_solution() -> None:
    hessian, gradient = problem(case())
    for method in SOLVERS:
        solution = solve(hessian, torch.zeros_like(gradient), method)
        assert not solution.value.any()
        assert solution.converged
        assert solution.relative_residual == 0


CHOICES: dict[str, tuple[int, int, int, float, str]] = {
    # rows, features, classes, relative damping
    "few unknowns": (50, 20, 10, 1e-2, "cholesky"),
    "few rows": (20, 300, 10, 1e-2, "woodbury"),
    "small damping": (700, 300, 10, 1e-2, "kronecker_cg"),
    "damping like the mean eigenvalue": (700, 300, 10, 1.0, "kronecker_cg"),
    "large damping": (700, 300, 10, 10.0, "cg"),
    "small damping, fewer than twice the rows": (500, 300, 10, 1e-2, "kronecker_cg"),
    "small damping, far fewer rows than columns": (60, 300, 10, 1e-2, "dominant_cg"),
    "undamped": (50, 20, 10, 0.0, "cg"),
}


@pytest.mark.parametrize(("rows", "features", "classes", "damping", "method"), CHOICES.values(), ids=CHOICES)
def test_auto_chooses_by_shape_and_conditioning(
    rows: int, features: int, classes: int, damping: float, method: str
) -> None:
    layer = case(rows=rows, features=features, classes=classes)
    assert choose(LastLayerHessian(layer.features, layer.logits / 8, damping=damping)) == method
