import warnings
from typing import Any

import pytest
import torch
from influence_cases import Case, case, close, clusters
from torch import Tensor

from influence import ConvergenceWarning, LastLayerHessian, append_bias, loss_gradient, solve
from influence.solvers import Method, choose, conjugate_gradient
from influence.solvers.kronecker import ekfac_inverse, kfac_inverse, kronecker_preconditioner
from influence.solvers.neumann import largest_eigenvalue_bound

SOLVERS: list[Method] = ["auto", "cholesky", "woodbury", "cg", "kronecker_cg", "neumann"]
CONTROLS: list[Method] = ["identity", "kfac", "ekfac"]
PROBLEMS: dict[str, dict[str, Any]] = {
    "many rows": {"rows": 40},
    "few rows": {"rows": 3, "features": 7},
    "weighted, decay by column": {"weighted": True, "decay": "columns"},
    "decayed weights": {"decay": "weights", "classes": 5},
}


def problem(layer: Case, **options: Any) -> tuple[LastLayerHessian, Tensor]:
    """The damped Hessian, and the gradient of other rows of the same layer."""
    other = case(rows=16, features=layer.features.shape[1], classes=len(layer.head), seed=9)
    gradient = loss_gradient(other.features, append_bias(other.features) @ layer.head.T, other.targets)
    return layer.hessian(**({"damping": 0.1} | options)), gradient


def exact(hessian: LastLayerHessian, gradient: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.solve(hessian.dense(), gradient.flatten())
    return solved.view_as(gradient)


def ill_conditioned(damping: float = 1e-3, rows: int = 400) -> tuple[LastLayerHessian, Tensor]:
    """Features of very different scale."""
    features, labels = clusters(rows, seed=0, features=40)
    features = features * torch.logspace(0, -1.5, 40, dtype=torch.float64)
    head = torch.zeros(3, 41, dtype=torch.float64)
    for _ in range(5):
        head -= 2 * loss_gradient(features, append_bias(features) @ head.T, labels)
    logits = append_bias(features) @ head.T
    gradient = loss_gradient(features[:50], logits[:50], labels[:50].roll(1))
    return LastLayerHessian(features, logits, damping=damping), gradient


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


@pytest.mark.parametrize("method", ["cg", "kronecker_cg", "neumann"])
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


def test_a_warm_start_needs_fewer_iterations() -> None:
    hessian, gradient = ill_conditioned(damping=1e-1)
    cold = solve(hessian, gradient, "cg", tol=1e-6)
    nearby = cold.value * 1.001
    methods: list[Method] = ["cg", "kronecker_cg", "neumann"]
    for method in methods:
        fresh = solve(hessian, gradient, method, tol=1e-6, max_iterations=50_000)
        warm = solve(hessian, gradient, method, tol=1e-6, max_iterations=50_000, initial=nearby)
        assert warm.iterations < 0.7 * fresh.iterations
        assert warm.converged
    assert solve(hessian, gradient, "cg", tol=1e-5, initial=cold.value).iterations == 0


def test_the_preconditioner_pays_for_small_damping_and_keeps_the_trace() -> None:
    hessian, gradient = ill_conditioned(damping=1e-3)
    plain = solve(hessian, gradient, "cg", tol=1e-5, max_iterations=1000)
    preconditioned = solve(hessian, gradient, "kronecker_cg", tol=1e-5)
    assert preconditioned.iterations < 0.5 * plain.iterations
    small, _ = problem(case(weighted=True))
    approximation = torch.linalg.inv(as_matrix(kronecker_preconditioner(small), small))
    assert float(approximation.trace()) == pytest.approx(small.trace(), rel=1e-9)


def as_matrix(inverse: Any, hessian: LastLayerHessian) -> Tensor:
    units = torch.eye(hessian.shape[0] * hessian.shape[1], dtype=torch.float64)
    return torch.stack([inverse(unit.view(hessian.shape)).flatten() for unit in units], dim=1)


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


def test_restarts_end_where_rounding_forbids_progress() -> None:
    hessian, gradient = ill_conditioned()
    single = LastLayerHessian(hessian.rows[:, :-1].float(), hessian.probs.float().log(), damping=1e-3)
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


@pytest.mark.parametrize("method", ["cholesky", "cg", "kronecker_cg"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 8e-7])
def test_float32_reaches_a_tolerance_near_its_precision(method: Method, tol: float) -> None:
    """Conjugate gradients get there by restarts: their own residual drifts from the true one before."""
    for damping in (1e-2, 1e-3, 1e-4):
        hessian, gradient = ill_conditioned()
        single = LastLayerHessian(hessian.rows[:, :-1].float(), hessian.probs.float().log(), damping=damping)
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


def test_refinement_ends_when_it_no_longer_helps() -> None:
    hessian, gradient = problem(case())
    with pytest.warns(ConvergenceWarning):
        solution = solve(hessian, gradient, "cholesky", tol=1e-30)
    assert 2 <= solution.iterations < 4
    assert solution.relative_residual < 1e-14


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


@pytest.mark.parametrize("method", ["cg", "kronecker_cg", "cholesky"])
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


CHOICES: dict[str, tuple[int, int, int, float, str]] = {
    # rows, features, classes, relative damping
    "few unknowns": (50, 20, 10, 1e-2, "cholesky"),
    "few rows": (20, 300, 10, 1e-2, "woodbury"),
    "small damping": (700, 300, 10, 1e-2, "kronecker_cg"),
    "large damping": (700, 300, 10, 1.0, "cg"),
    "small damping, fewer than twice the rows": (500, 300, 10, 1e-2, "cg"),
    "undamped": (50, 20, 10, 0.0, "cg"),
}


@pytest.mark.parametrize(("rows", "features", "classes", "damping", "method"), CHOICES.values(), ids=CHOICES)
def test_auto_chooses_by_shape_and_conditioning(
    rows: int, features: int, classes: int, damping: float, method: str
) -> None:
    layer = case(rows=rows, features=features, classes=classes)
    assert choose(layer.hessian(damping=damping)) == method
