from typing import cast

import pytest
import torch
from influence_cases import Case, case, close, clusters
from torch import Tensor

from influence import (
    LastLayerHessian,
    Samples,
    append_bias,
    class_gradients,
    loss_gradient,
    refit_head,
    replacement_influence,
    solve,
    upweight_influence,
)


def solution_of(layer: Case, seed: int = 3) -> Tensor:
    """Any matrix will do where only the bilinear form is tested."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(layer.head.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("soft", [False, True])
def test_influence_is_minus_the_directional_derivative_of_the_own_loss(soft: bool) -> None:
    layer = case(soft=soft)
    solution, step = solution_of(layer), 1e-5

    def losses(head: Tensor) -> Tensor:
        logits = append_bias(layer.features) @ head.T
        return torch.nn.functional.cross_entropy(logits, layer.targets, reduction="none")

    change = losses(layer.head + step * solution) - losses(layer.head - step * solution)
    influence = upweight_influence(solution, layer.features, layer.logits, layer.targets)
    close(influence, -change / (2 * step), 1e-8)


@pytest.mark.parametrize("soft", [False, True])
def test_influence_is_minus_the_product_with_the_own_gradient(soft: bool) -> None:
    layer = case(soft=soft)
    solution = solution_of(layer)
    influence = upweight_influence(solution, layer.features, layer.logits, layer.targets)
    expected = [
        -(solution * loss_gradient(layer.features[i], layer.logits[i], layer.targets[i])).sum()
        for i in (slice(row, row + 1) for row in range(24))
    ]
    close(influence, torch.stack(expected))


@pytest.mark.parametrize("soft", [False, True])
def test_derivatives_forwards_are_those_backwards_and_they_nest(soft: bool) -> None:
    layer = case(soft=soft)
    solution, direction = solution_of(layer), torch.randn_like(layer.features)

    def influence(features: Tensor) -> Tensor:
        return upweight_influence(solution, features, append_bias(features) @ layer.head.T, layer.targets)

    def slope(features: Tensor) -> Tensor:
        return cast(Tensor, torch.func.jvp(influence, (features,), (direction,))[1])

    first, second = cast(tuple[Tensor, Tensor], torch.func.jvp(slope, (layer.features,), (direction,)))
    features = layer.features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(influence(features).sum(), features, create_graph=True)
    close(first, (gradient * direction).sum(dim=1).detach())
    step = 1e-4
    ends = [influence(layer.features + sign * step * direction) for sign in (1, 0, -1)]
    close(second, (ends[0] - 2 * ends[1] + ends[2]) / step**2, 1e-5)


@pytest.mark.parametrize("soft", [False, True])
def test_gradient_in_the_features_has_the_closed_form(soft: bool) -> None:
    """dI/dh = -[W^T C u + S_w^T (p - q)] with u = S a, C = diag p - p p^T."""
    layer = case(soft=soft)
    solution = solution_of(layer)
    features = layer.features.clone().requires_grad_()
    logits = append_bias(features) @ layer.head.T
    (found,) = torch.autograd.grad(upweight_influence(solution, features, logits, layer.targets).sum(), features)
    probs = layer.logits.softmax(dim=1)
    shares = layer.targets if soft else torch.nn.functional.one_hot(layer.targets, 3)
    moved = append_bias(layer.features) @ solution.T
    curved = probs * moved - probs * (probs * moved).sum(dim=1, keepdim=True)
    close(found, -(curved @ layer.head[:, :-1] + (probs - shares) @ solution[:, :-1]))


def test_gradcheck_in_features_and_logits() -> None:
    layer = case(rows=5)
    solution = solution_of(layer)

    def influence(features: Tensor, logits: Tensor) -> Tensor:
        return upweight_influence(solution, features, logits, layer.targets)

    inputs = layer.features.requires_grad_(), layer.logits.detach().requires_grad_()
    assert torch.autograd.gradcheck(influence, inputs)


def test_solution_and_original_are_constants() -> None:
    layer = case()
    solution = solution_of(layer).requires_grad_()
    original = layer.features.clone().requires_grad_(), layer.logits.requires_grad_(), layer.targets
    replacement = (layer.features + 1).requires_grad_(), layer.logits.detach().requires_grad_(), layer.targets
    replacement_influence(solution, original, replacement).sum().backward()
    assert solution.grad is None
    assert original[0].grad is None
    assert original[1].grad is None
    for moving in replacement[:2]:
        assert moving.grad is not None
        assert moving.grad.abs().max() > 0


def test_replacement_is_the_difference_and_zero_for_itself() -> None:
    layer, other = case(), case(seed=4, soft=True)
    solution = solution_of(layer)
    old = layer.features, layer.logits, layer.targets
    new = other.features, other.logits, other.targets
    expected = upweight_influence(solution, *new) - upweight_influence(solution, *old)
    close(replacement_influence(solution, old, new), expected)
    assert expected.abs().min() > 1e-4
    assert not replacement_influence(solution, old, old).any()


def test_influence_is_the_change_of_the_refitted_validation_loss() -> None:
    """The definition: add weight eps to one sample, refit, and see the validation loss move."""
    features, labels = clusters(40, seed=0)
    held_out, held_labels = clusters(40, seed=1)
    head = refit_head(Samples(features, labels), 3, weight_decay=0.05)
    logits = append_bias(features) @ head.T
    hessian = LastLayerHessian(features, logits, damping=0.0, weight_decay=0.05)
    gradient = loss_gradient(held_out, append_bias(held_out) @ head.T, held_labels)
    solution = solve(hessian, gradient, tol=1e-10)
    influence = upweight_influence(solution, features, logits, labels)

    def validation_loss(row: int, weight: float) -> Tensor:
        weights = torch.ones(40, dtype=torch.float64)
        weights[row] += 40 * weight
        moved = refit_head(Samples(features, labels), 3, weight_decay=0.05, weights=weights, tol=1e-12)
        return torch.nn.functional.cross_entropy(append_bias(held_out) @ moved.T, held_labels)

    for row in range(5):
        slope = (validation_loss(row, 1e-4) - validation_loss(row, -1e-4)) / 2e-4
        assert float(influence[row]) == pytest.approx(float(slope), rel=1e-3)


def test_a_step_against_the_gradient_of_influence_lowers_the_refitted_validation_loss() -> None:
    features, labels = clusters(60, seed=0)
    held_out, held_labels = clusters(200, seed=1)

    def refitted(inputs: Tensor) -> tuple[Tensor, Tensor]:
        head = refit_head(Samples(inputs, labels), 3, weight_decay=0.02)
        return head, torch.nn.functional.cross_entropy(append_bias(held_out) @ head.T, held_labels)

    head, before = refitted(features)
    hessian = LastLayerHessian(features, append_bias(features) @ head.T, damping=0.0, weight_decay=0.02)
    gradient = loss_gradient(held_out, append_bias(held_out) @ head.T, held_labels)
    solution = solve(hessian, gradient, tol=1e-8)
    moving = features.clone().requires_grad_()
    influence = upweight_influence(solution, moving, append_bias(moving) @ head.T, labels).mean()
    (slope,) = torch.autograd.grad(influence, moving)
    step = 0.05 / slope.norm(dim=1).mean()
    _, better = refitted(features - step * slope)
    _, worse = refitted(features + step * slope)
    assert better < before < worse


def test_a_common_vector_added_to_all_classes_changes_nothing() -> None:
    layer = case(rows=30)
    held_out = case(seed=8)

    def influence(head: Tensor) -> Tensor:
        logits = append_bias(layer.features) @ head.T
        gradient = loss_gradient(held_out.features, append_bias(held_out.features) @ head.T, held_out.targets)
        solution = solve(LastLayerHessian(layer.features, logits, damping=0.1), gradient, tol=1e-12)
        return upweight_influence(solution, layer.features, logits, layer.targets)

    close(influence(layer.head + solution_of(layer)[:1]), influence(layer.head))
    solution = solution_of(layer)
    rows = layer.features, layer.logits, layer.targets
    close(upweight_influence(solution + solution[:1], *rows), upweight_influence(solution, *rows))


def test_autocast_around_changes_no_bit_of_value_or_gradient() -> None:
    layer = case(rows=64, features=16)
    solution = solution_of(layer).float()

    def compute() -> tuple[Tensor, Tensor]:
        features = layer.features.float().requires_grad_()
        influence = upweight_influence(solution, features, layer.logits.float(), layer.targets)
        return influence.detach(), torch.autograd.grad(influence.sum(), features)[0]

    expected = compute()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = compute()
    assert all(torch.equal(a, b) and a.dtype == torch.float32 for a, b in zip(found, expected, strict=True))


def test_fitted_samples_keep_their_digits_in_float32() -> None:
    """With a margin of 20 the residual is 1e-9 and the solution is large in return."""
    layer = case()
    logits = 20 * torch.nn.functional.one_hot(layer.targets, 3) + layer.logits
    solution = 1e6 * solution_of(layer)
    expected = upweight_influence(solution, layer.features, logits, layer.targets)
    found = upweight_influence(solution.float(), layer.features.float(), logits.float(), layer.targets)
    close(found.double(), expected, 1e-4)


@pytest.mark.parametrize("soft", [False, True])
def test_class_gradients_weighted_by_frequency_are_the_gradient(soft: bool) -> None:
    layer = case(rows=50, classes=4, soft=soft)
    rows = layer.features, layer.logits, layer.targets
    shares = layer.targets if soft else torch.nn.functional.one_hot(layer.targets, 4)
    frequencies = shares.double().mean(dim=0)
    total = (class_gradients(*rows) * frequencies[:, None, None]).sum(dim=0)
    close(total, loss_gradient(*rows), 1e-12)


def test_class_gradient_is_that_of_the_rows_of_the_class() -> None:
    layer = case(rows=50, classes=4)
    labels = layer.targets.clamp(max=2)  # class 3 has no rows
    found = class_gradients(layer.features, layer.logits, labels)
    for c in range(3):
        chosen = labels == c
        close(found[c], loss_gradient(layer.features[chosen], layer.logits[chosen], labels[chosen]), 1e-12)
    assert not found[3].any()
