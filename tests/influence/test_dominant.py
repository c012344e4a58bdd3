"""The preconditioner from dominant rows: exact with all rows, and what a confident classifier needs."""

import warnings

import pytest
import torch
from influence_cases import case, close, clusters
from solver_problems import exact, problem
from torch import Tensor

from influence import ConvergenceWarning, LastLayerHessian, append_bias, loss_gradient, solve
from influence.losses import BinaryCrossEntropy
from influence.solvers import choose
from influence.solvers.dominant import COVERED, MOST, dominant_preconditioner, dominant_rows


def confident(rows: int = 600, classes: int = 7, features: int = 200) -> tuple[LastLayerHessian, Tensor]:
    """A head that fits nearly all of its rows with certainty, and the gradient of other ones."""
    inputs, labels = clusters(rows, seed=0, classes=classes, features=features, spread=0.6)
    head = torch.zeros(classes, features + 1, dtype=torch.float64)
    for _ in range(40):
        head -= 0.3 * loss_gradient(inputs, append_bias(inputs) @ head.T, labels)
    near = torch.arange(rows) % 12 == 0  # rows between two classes: the only ones in doubt
    inputs[near] = (inputs[near] + inputs[near.roll(1)]) / 2
    other, wrong = clusters(80, seed=1, classes=classes, features=features, spread=2.0)
    gradient = loss_gradient(other, append_bias(other) @ head.T, wrong)
    return LastLayerHessian(inputs, append_bias(inputs) @ head.T, damping=0.01), gradient


def test_few_rows_hold_the_trace_of_a_confident_classifier() -> None:
    hessian, gradient = confident()
    rows, share = dominant_rows(hessian)
    assert len(rows) == MOST // 7
    assert 0.9 < share < COVERED
    sizes = hessian.curvature.traces * hessian.rows.square().sum(dim=1)
    assert share == pytest.approx(float(sizes[rows].sum() / sizes.sum()))
    assert float(sizes[rows].min()) >= float(sizes[~torch.isin(torch.arange(len(sizes)), rows)].max())
    assert choose(hessian) == "dominant_cg"
    plain, dominant = (
        solve(hessian, gradient, method, tol=1e-3, max_iterations=2000) for method in ("cg", "dominant_cg")
    )
    assert dominant.iterations < plain.iterations / 4
    close(dominant.value, exact(hessian, gradient), 1e-2)


def test_the_rows_are_bounded_by_the_inner_matrix() -> None:
    hessian, _ = problem(case(rows=700, features=30, classes=10), damping=0.1)
    rows, share = dominant_rows(hessian)
    assert len(rows) == MOST // 10
    assert share < COVERED


@pytest.mark.parametrize("decay", ["weights", "columns"])
def test_with_all_rows_it_is_the_inverse(decay: str) -> None:
    layer = case(rows=30, features=12, classes=4, decay=decay, weighted=True)
    hessian, gradient = problem(layer, damping=1e-2)
    hessian.curvature.traces = torch.full_like(hessian.curvature.traces, 1.0)  # none is left out
    inverse = dominant_preconditioner(hessian)
    assert inverse is not None
    kept, _ = dominant_rows(hessian)
    found = inverse(gradient)
    if len(kept) == 30:
        close(found, exact(hessian, gradient), 1e-6)
    solution = solve(hessian, gradient, "dominant_cg", tol=1e-9)
    close(solution.value, exact(hessian, gradient), 1e-6)


def test_it_serves_other_losses() -> None:
    layer = case(rows=60, features=20, classes=5)
    targets = (layer.logits > 0.5).double()
    arguments = {"damping": 1e-2, "targets": targets, "loss": BinaryCrossEntropy()}
    hessian = LastLayerHessian(layer.features, 4 * layer.logits, **arguments)  # type: ignore[arg-type]
    gradient = loss_gradient(layer.features, layer.logits, targets, loss=BinaryCrossEntropy())
    solution = solve(hessian, gradient, "dominant_cg", tol=1e-9)
    close(solution.value, exact(hessian, gradient), 1e-6)


@pytest.mark.parametrize("damping", [1e-1, 1e-2])
def test_default_rows_of_a_confident_classifier_meet_the_default_tolerance(damping: float) -> None:
    """512 rows, a hundred products, residual 1e-2: without a warning, in float32."""
    hessian, gradient = confident()
    features = hessian.rows[:512, :-1].float()
    logits = hessian.curvature.take(torch.arange(512)).probs.float().clamp(min=1e-30).log()  # type: ignore[attr-defined]
    single = LastLayerHessian(features, logits, damping=damping)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        assert solve(single, gradient.float(), tol=1e-2, max_iterations=100).converged


def test_undamped_columns_are_refused() -> None:
    hessian, gradient = problem(case(), damping=0.0)
    with pytest.raises(ValueError, match="every column for dominant_cg"):
        solve(hessian, gradient, "dominant_cg")
