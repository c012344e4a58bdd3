"""Losses: derivatives against torch's own autograd, influence against refits without one sample."""

from collections.abc import Callable
from typing import Any, NamedTuple

import kornia
import pytest
import torch
from torch import Tensor, nn
from torch.func import hessian

from influence import LastLayerHessian, append_bias, loss_gradient, solve, upweight_influence
from influence.curvature import BlockCurvature
from influence.losses import AutogradLoss, BinaryCrossEntropy, CrossEntropy, Loss, loss_from
from influence.solvers import Method

ROWS, FEATURES, CLASSES, DECAY = 40, 4, 3, 0.05
GENERATOR = torch.Generator().manual_seed(0)
WEIGHT = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
LABELS = torch.arange(ROWS) % CLASSES
LEFT_OUT = torch.where(torch.arange(ROWS) % 5 == 0, -100, LABELS)
SOFT = torch.rand(ROWS, CLASSES, generator=GENERATOR, dtype=torch.float64).softmax(dim=1)
SEVERAL = (torch.rand(ROWS, CLASSES, generator=GENERATOR) < 0.4).double()
ONE = SEVERAL[:, 0]

METHODS: tuple[Method, ...] = ("cholesky", "cg", "kronecker_cg", "dominant_cg", "woodbury", "neumann")


class Case(NamedTuple):
    torch_loss: Any
    targets: Tensor
    closed: bool = True


def squeezed(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits.squeeze(1), targets)


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    value: Tensor = kornia.losses.focal_loss(logits, targets, alpha=None, gamma=2.0, reduction="mean")
    return value


CASES = {
    "cross-entropy": Case(nn.CrossEntropyLoss(), LABELS),
    "a function": Case(nn.functional.cross_entropy, LABELS),
    "soft targets": Case(nn.CrossEntropyLoss(), SOFT),
    "smoothing": Case(nn.CrossEntropyLoss(label_smoothing=0.2), LABELS),
    "class weights": Case(nn.CrossEntropyLoss(WEIGHT), LABELS),
    "weights, smoothing": Case(nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.1), LABELS),
    "weights, smoothing, soft": Case(nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.1), SOFT),
    "left out": Case(nn.CrossEntropyLoss(label_smoothing=0.1), LEFT_OUT),
    "sum": Case(nn.CrossEntropyLoss(reduction="sum"), LABELS),
    "several labels": Case(nn.BCEWithLogitsLoss(), SEVERAL),
    "several labels, weights": Case(nn.BCEWithLogitsLoss(WEIGHT, pos_weight=3 * WEIGHT), SEVERAL),
    "margin": Case(nn.MultiLabelSoftMarginLoss(), SEVERAL),
    "one logit": Case(squeezed, ONE, closed=False),
    "focal": Case(focal, LABELS, closed=False),
    "smooth L1": Case(lambda z, y: nn.functional.smooth_l1_loss(z, y, beta=50.0), SEVERAL, closed=False),
    "autograd cross-entropy": Case(lambda z, y: nn.functional.cross_entropy(z, y, WEIGHT), LABELS, closed=False),
    "one value a sample": Case(lambda z, y: nn.functional.cross_entropy(z, y, reduction="none"), LABELS, closed=False),
}


def outputs(case: Case) -> int:
    return 1 if case.targets is ONE else CLASSES


def total(case: Case, logits: Tensor) -> Tensor:
    value: Tensor = case.torch_loss(logits, case.targets)
    return value.mean() if value.ndim else value


def rows(case: Case, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(ROWS, FEATURES, generator=generator, dtype=torch.float64)
    head = torch.randn(outputs(case), FEATURES + 1, generator=generator, dtype=torch.float64)
    return features, append_bias(features) @ head.T


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_torch_up_to_one_factor(name: str) -> None:
    case = CASES[name]
    loss, (features, logits) = loss_from(case.torch_loss), rows(case)
    assert isinstance(loss, AutogradLoss) != (case.closed)
    variable = logits.clone().requires_grad_()
    (expected,) = torch.autograd.grad(total(case, variable), variable)
    found = loss.gradient(logits, case.targets) / ROWS
    factor = float((expected * found).sum() / found.square().sum())
    torch.testing.assert_close(found * factor, expected, rtol=1e-9, atol=1e-12)
    blocks = hessian(lambda z: total(case, z))(logits)  # [N, K, N, K]
    weights = torch.full((ROWS,), 1 / ROWS, dtype=torch.float64)
    curvature = loss.curvature(logits, case.targets, weights)
    scores = torch.randn(logits.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    product = torch.einsum("nkml,ml->nk", blocks, scores)
    torch.testing.assert_close(factor * curvature.apply(scores.T.clone()).T, product, rtol=1e-8, atol=1e-11)
    full = torch.einsum("nknl,nd,ne->kdle", blocks, append_bias(features), append_bias(features))
    size = full.shape[0] * full.shape[1]
    torch.testing.assert_close(
        factor * curvature.dense(append_bias(features)), full.reshape(size, size), rtol=1e-8, atol=1e-11
    )


@pytest.mark.parametrize("name", CASES)
def test_parts_of_a_curvature_are_those_of_its_matrices(name: str) -> None:
    case = CASES[name]
    _, logits = rows(case)
    weights = torch.rand(ROWS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    curvature = loss_from(case.torch_loss).curvature(logits, case.targets, weights)
    units = torch.eye(outputs(case), dtype=torch.float64)
    matrices = torch.stack([curvature.apply(unit[:, None].repeat(1, ROWS)).T for unit in units], dim=2)  # [N, K, K]
    basis = torch.linalg.qr(torch.randn(len(units), len(units), dtype=torch.float64))[0]
    torch.testing.assert_close(curvature.traces, matrices.diagonal(dim1=1, dim2=2).sum(dim=1))
    torch.testing.assert_close(curvature.total(), matrices.sum(dim=0))
    turned = basis.T @ matrices @ basis
    torch.testing.assert_close(curvature.diagonal(basis), turned.diagonal(dim1=1, dim2=2))
    values = torch.linalg.eigvalsh(matrices)
    assert bool((values[:, -1] <= curvature.bound() + 1e-12).all())
    assert curvature.definite == bool((values[:, 0] >= -1e-9).all())
    if curvature.definite:
        roots, scores = curvature.roots(), torch.randn(len(units), ROWS, dtype=torch.float64)
        torch.testing.assert_close(roots.mT @ roots, matrices, rtol=1e-6, atol=1e-9)
        expected = torch.einsum("nrk,kn->nr", roots, scores)
        torch.testing.assert_close(curvature.root_scores(roots, scores.clone()), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_methods_agree_with_the_dense_matrix(name: str) -> None:
    case = CASES[name]
    features, logits = rows(case)
    loss = loss_from(case.torch_loss)
    hessian_ = LastLayerHessian(features, logits, damping=0.5, targets=case.targets, loss=loss, weight_decay=DECAY)
    gradient = loss_gradient(features, logits, case.targets.roll(3, 0), loss=loss)
    expected = torch.linalg.solve(hessian_.dense(), gradient.flatten()).view_as(gradient)
    for method in METHODS:
        if method == "woodbury" and not hessian_.curvature.definite:
            continue
        found = solve(hessian_, gradient, method, tol=1e-10, max_iterations=5000)
        torch.testing.assert_close(found.value, expected, rtol=1e-6, atol=1e-9)


def fitted(case: Case, features: Tensor, weights: Tensor, start: Tensor | None = None) -> Tensor:
    """The head of the smallest weighted loss with decay, by Newton steps on torch's own derivatives."""

    def objective(flat: Tensor) -> Tensor:
        head = flat.view(outputs(case), FEATURES + 1)
        logits = append_bias(features) @ head.T
        losses = torch.vmap(lambda z, t: total(Case(case.torch_loss, t[None]), z[None]))(logits, case.targets)
        return (losses * weights).sum() / ROWS + DECAY / 2 * flat.square().sum()

    flat = torch.zeros(outputs(case), FEATURES + 1, dtype=torch.float64).flatten() if start is None else start.flatten()
    for _ in range(40):
        gradient = torch.func.grad(objective)(flat)
        if gradient.norm() < 1e-11:
            break
        flat = flat - torch.linalg.solve(hessian(objective)(flat), gradient)
    return flat.view(outputs(case), FEATURES + 1)


REFITTED = ["soft targets", "smoothing", "several labels", "several labels, weights", "one logit", "focal"]


@pytest.mark.parametrize("name", REFITTED)
def test_influence_is_the_change_of_a_refit(name: str) -> None:
    """The derivative by a difference of two refits; that without the sample follows to first order."""
    case = CASES[name]
    features, _ = rows(case)
    ones = torch.ones(ROWS, dtype=torch.float64)
    loss, head = loss_from(case.torch_loss), fitted(case, features, ones)
    logits = append_bias(features) @ head.T
    held_out, targets = rows(case, seed=5)[0], case.targets.roll(7, 0)

    def validation(head: Tensor) -> Tensor:
        value: Tensor = case.torch_loss(append_bias(held_out) @ head.T, targets)
        return value

    gradient = torch.func.grad(validation)(head)
    decay = torch.full((FEATURES + 1,), DECAY, dtype=torch.float64)
    matrix = LastLayerHessian(features, logits, damping=0.0, weight_decay=decay, targets=case.targets, loss=loss)
    found = upweight_influence(solve(matrix, gradient, tol=1e-10), features, logits, case.targets, loss)
    for i in (0, 7):
        step = torch.zeros(ROWS, dtype=torch.float64).index_fill_(0, torch.tensor([i]), 1e-3)
        up, down = (validation(fitted(case, features, ones + sign * step, head)) for sign in (1, -1))
        assert float((up - down) / 2e-3 * ROWS) == pytest.approx(float(found[i]), rel=1e-4, abs=1e-7)


def test_weights_of_classes_are_not_lost_in_a_batch_of_any_size() -> None:
    """One sample alone is divided by its own weight in torch: per-sample calls would lose it."""
    _, logits = rows(CASES["class weights"])
    loss = loss_from(lambda z, y: nn.functional.cross_entropy(z, y, WEIGHT))
    closed = CrossEntropy(WEIGHT).gradient(logits, LABELS)
    found = loss.gradient(logits, LABELS)
    torch.testing.assert_close(found * (closed.norm() / found.norm()), closed)


def test_a_concave_loss_is_solved_without_its_negative_curvature() -> None:
    features, logits = rows(CASES["focal"])
    logits = 6 * logits
    loss = loss_from(focal)
    matrix = LastLayerHessian(features, logits, damping=1e-3, targets=LABELS, loss=loss)
    assert isinstance(matrix.curvature, BlockCurvature)
    assert not matrix.curvature.definite
    assert torch.linalg.eigvalsh(matrix.dense())[0] < 0
    gradient = loss_gradient(features, logits, LABELS.roll(1), loss=loss)
    convex = matrix.convex()
    assert convex is not None
    expected = torch.linalg.solve(convex.dense(), gradient.flatten()).view_as(gradient)
    for method in METHODS[:2]:
        solution = solve(matrix, gradient, method, tol=1e-8, max_iterations=5000)
        assert solution.converged
        torch.testing.assert_close(solution.value, expected, rtol=1e-5, atol=1e-6)


def contrastive(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits @ logits.T, torch.arange(len(logits)))


def random(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(nn.functional.dropout(logits, 0.5), targets)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (contrastive, "contrastive mixes the samples of a batch|neither a mean nor a sum"),
        (lambda z, y: nn.functional.cross_entropy(z - z.mean(dim=0), y), "mixes the samples of a batch"),
        (random, "for the same logits and targets|neither a mean nor a sum"),
        (lambda z, y: nn.functional.cross_entropy(z.detach(), y), "does not require grad|differentiated"),
        (lambda z, y: nn.functional.cross_entropy(z, y[:, None]), "cannot take logits"),
        (lambda z, y: (z, y), "must return one number, or one for each sample"),
        (lambda z, y: nn.functional.multi_margin_loss(z, y), "no curvature|differentiated twice"),
        (lambda z, y: nn.functional.cross_entropy(z, y, reduction="sum") / len(y) ** 2, "neither a mean nor a sum"),
    ],
)
def test_what_cannot_be_followed_is_refused(function: Callable[..., Any], message: str) -> None:
    _, logits = rows(CASES["cross-entropy"])
    loss = loss_from(function)
    with pytest.raises(ValueError, match=message):
        loss.curvature(logits, LABELS, torch.ones(ROWS, dtype=torch.float64))


@pytest.mark.parametrize("loss", [nn.NLLLoss(), nn.BCELoss(), nn.KLDivLoss(reduction="batchmean")])
def test_losses_of_probabilities_are_refused_by_name(loss: nn.Module) -> None:
    with pytest.raises(ValueError, match=rf"{type(loss).__name__} takes probabilities"):
        loss_from(loss)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="TripletMarginLoss is no loss of one image's logits"):
        loss_from(nn.TripletMarginLoss())
    with pytest.raises(TypeError, match="expected a loss to call with logits and targets, found str"):
        loss_from("cross_entropy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"label_smoothing=0\.1 is for the default loss"):
        loss_from(nn.CrossEntropyLoss(), 0.1)
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\), found 1"):
        loss_from(None, 1.0)
    with pytest.raises(ValueError, match="one number for each output"):
        BinaryCrossEntropy(torch.ones(3, 3))
    with pytest.raises(ValueError, match="pos_weight >= 0"):
        BinaryCrossEntropy(None, torch.tensor([-1.0]))
    with pytest.raises(ValueError, match="class weights >= 0"):
        CrossEntropy(torch.tensor([1.0, torch.nan]))


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        (BinaryCrossEntropy(), LABELS, "one for each output, found .* class numbers"),
        (BinaryCrossEntropy(), 2 * SEVERAL, "targets between 0 and 1"),
        (CrossEntropy(), LEFT_OUT, r"labels in \[0, 3\)"),
        (CrossEntropy(ignore_index=255), LEFT_OUT, r"labels in \[0, 3\)"),
        (CrossEntropy(), SEVERAL, "rows of probabilities"),
        (CrossEntropy(torch.ones(4)), LABELS, "expected 3 class weights, found"),
    ],
)
def test_targets_that_a_loss_cannot_take(loss: Loss, targets: Tensor, message: str) -> None:
    _, logits = rows(CASES["cross-entropy"])
    with pytest.raises(ValueError, match=message):
        loss.gradient(logits, targets)


def test_a_loss_that_works_in_place_is_followed() -> None:
    _, logits = rows(CASES["cross-entropy"])
    before = logits.clone()
    found = loss_from(lambda z, y: nn.functional.cross_entropy(z.mul_(2.0), y)).gradient(logits, LABELS)
    torch.testing.assert_close(found, 2 * CrossEntropy().gradient(2 * logits, LABELS))
    assert torch.equal(logits, before)


def test_right_decisions() -> None:
    logits = torch.tensor([[2.0, -1.0, 1.0], [0.5, 1.0, -3.0], [1.0, 2.0, 3.0]])
    classes = torch.tensor([0, 0, -100])
    assert loss_from(nn.CrossEntropyLoss()).right(logits, classes).tolist() == [True, False]
    several = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert loss_from(nn.BCEWithLogitsLoss()).right(logits, several).tolist() == [True, True, False]
    assert loss_from(focal).right(logits, torch.tensor([0, 0, 2])).tolist() == [True, False, True]
    one = torch.tensor([[1.0], [0.0], [0.0]])
    assert loss_from(nn.BCEWithLogitsLoss()).right(logits[:, :1], one).tolist() == [True, False, False]
    assert loss_from(squeezed).right(logits[:, :1], one[:, 0]).tolist() == [True, False, False]
