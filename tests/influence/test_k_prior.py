"""K-priors against exact retraining on all data, and the error of their gradient against automatic differentiation."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from influence_cases import close, clusters
from torch import Tensor

from influence import (
    KPrior,
    Samples,
    adapt_head,
    append_bias,
    k_prior_objective,
    point_loss,
    refit_head,
    remember,
    weight_gradient,
    with_features,
)

DELTA = 0.8  # of the sum over samples
ROWS = 60


def retrained(samples: Samples, delta: float, weights: Tensor | None = None) -> Tensor:
    """The minimum of the sum, from the refit's mean."""
    rows = len(samples.features)
    return refit_head(samples, 3, weight_decay=delta / rows, weights=weights, tol=1e-14)


def past() -> tuple[Samples, Tensor]:
    samples = Samples(*clusters(ROWS, seed=0))
    return samples, retrained(samples, DELTA)


def everything() -> tuple[Samples, KPrior]:
    samples, head = past()
    return samples, remember(samples.features, head, DELTA)


def joined(*parts: Samples) -> Samples:
    return Samples(torch.cat([part.features for part in parts]), torch.cat([part.targets for part in parts]))


# With full memory adapting is retraining


def test_add_is_exact() -> None:
    samples, prior = everything()
    new = Samples(*clusters(12, seed=1, spread=2.0))
    close(adapt_head(prior, added=new, tol=1e-13), retrained(joined(samples, new), DELTA), 1e-10)


def test_remove_is_exact() -> None:
    samples, prior = everything()
    rows = torch.arange(0, ROWS, 7)
    keep = torch.ones(ROWS, dtype=torch.bool).index_fill(0, rows, False)
    left = Samples(samples.features[keep], samples.targets[keep])
    close(adapt_head(prior, removed=(rows, samples.targets[rows]), tol=1e-13), retrained(left, DELTA), 1e-10)


@pytest.mark.parametrize("delta", [0.05, 20.0])
def test_change_of_the_regularizer_is_exact(delta: float) -> None:
    samples, prior = everything()
    close(adapt_head(prior, weight_decay=delta, tol=1e-13), retrained(samples, delta), 1e-10)


def test_all_at_once_is_exact() -> None:
    samples, prior = everything()
    new, rows = Samples(*clusters(12, seed=1)), torch.tensor([3, 50, 8])
    keep = torch.ones(ROWS, dtype=torch.bool).index_fill(0, rows, False)
    whole = joined(Samples(samples.features[keep], samples.targets[keep]), new)
    found = adapt_head(prior, added=new, removed=(rows, samples.targets[rows]), weight_decay=0.3, tol=1e-13)
    close(found, retrained(whole, 0.3), 1e-10)


def test_nothing_changed_is_the_old_head() -> None:
    samples, head = past()
    memory = remember(samples.features[:5], head, DELTA)
    close(adapt_head(memory, tol=1e-13), head, 1e-10)


def test_gradient_is_that_of_all_data_at_every_head() -> None:
    samples, prior = everything()
    head = torch.randn(3, 7, generator=torch.Generator().manual_seed(3)).double()
    head -= head.mean(dim=0)

    def loss(weights: Tensor) -> Tensor:
        logits = append_bias(samples.features) @ weights.T
        return F.cross_entropy(logits, samples.targets, reduction="sum") + DELTA / 2 * weights[:, :-1].square().sum()

    close(k_prior_objective(prior).gradient(head), torch.func.grad(loss)(head), 1e-12)


# With a part of the memory


@pytest.mark.parametrize("weighted", [False, True])
def test_objective_is_the_points_and_the_weight_term(weighted: bool) -> None:
    """The closed form of the head against the functions that a network uses, by automatic differentiation."""
    samples, old = past()
    rows = torch.tensor([1, 5, 9, 20, 33])
    weights = torch.tensor([4.0, 1.0, 2.5, 7.0, 1.0]).double() if weighted else None
    prior = remember(samples.features[rows], old, DELTA, weights)
    new, removed = Samples(*clusters(4, seed=1)), torch.tensor([0, 4])
    delta = torch.linspace(0.1, 0.7, 7).double()
    objective = k_prior_objective(
        prior, added=new, removed=(removed, samples.targets[rows[removed]]), weight_decay=delta
    )
    head = torch.randn(3, 7, generator=torch.Generator().manual_seed(3)).double()
    head -= head.mean(dim=0)

    features = torch.cat([prior.features, new.features])
    old_probs = (append_bias(features) @ old.T).softmax(dim=1)
    soft = torch.cat([prior.weights, torch.zeros(4)])
    hard = torch.tensor([-1.0, 0, 0, 0, -1.0, 1, 1, 1, 1]).double()
    labels = torch.cat([samples.targets[rows], new.targets])
    logits = lambda weights: append_bias(features) @ weights.T  # noqa: E731
    by_points = torch.func.grad(lambda w: point_loss(logits(w), labels, old_probs, soft, hard))(head)
    close(objective.gradient(head), by_points + weight_gradient(head, old, delta, prior.decay), 1e-12)


def test_point_loss_is_the_sum_of_cross_entropies() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    labels, old = torch.tensor([0, 2, 1, 1, 0]), logits.flip(0).softmax(dim=1)
    soft, hard = torch.tensor([2.0, 0.5, 0.0, 1.0, 1.0]).double(), torch.tensor([0.0, 1.0, 1.0, -1.0, 0.0]).double()
    own, other = (F.cross_entropy(logits, target, reduction="none") for target in (labels, old))
    torch.testing.assert_close(point_loss(logits, labels, old, soft, hard), (hard * own + soft * other).sum())


@pytest.mark.parametrize("selection", ["weighted", "random"])
def test_a_tenth_is_nearer_to_retraining_than_no_memory(selection: str) -> None:
    samples, prior = everything()
    new = Samples(*clusters(12, seed=1, spread=2.0))
    target = retrained(joined(samples, new), DELTA)
    rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))[:12]
    weights = torch.full((12,), ROWS / 12 if selection == "weighted" else 1.0)
    memory = remember(samples.features[rows], prior.head, DELTA, weights)
    nothing = remember(samples.features[:1], prior.head, DELTA, torch.zeros(1))
    errors = [(adapt_head(part, added=new) - target).norm() for part in (memory, nothing)]
    assert errors[0] < 0.8 * errors[1]


def test_one_newton_step_is_the_influence_of_the_removal() -> None:
    """docs/method.md, "K-priors": the remaining steps are small."""
    samples, prior = everything()
    rows = torch.arange(0, ROWS, 10)
    removed = (rows, samples.targets[rows])
    objective = k_prior_objective(prior, removed=removed)
    step = objective.newton_direction(prior.head, objective.gradient(prior.head))
    moved = adapt_head(prior, removed=removed) - prior.head
    assert (moved + step).norm() < 0.2 * moved.norm()


# Other features


def test_the_order_of_the_features_does_not_matter() -> None:
    _, prior = everything()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    columns = torch.cat([order, torch.tensor([6])])
    permuted = with_features(prior, prior.features[:, order], prior.head[:, columns])
    close(adapt_head(permuted, weight_decay=0.2, tol=1e-13), adapt_head(prior, weight_decay=0.2, tol=1e-13)[:, columns])


def test_distillation_into_other_features_is_a_fit_to_the_soft_labels() -> None:
    _, prior = everything()
    squares = torch.cat([prior.features[:, :4], prior.features[:, :4].square()], dim=1)
    found = adapt_head(with_features(prior, squares), tol=1e-13)
    close(found, retrained(Samples(squares, prior.probs), DELTA), 1e-10)


# The error of a network's K-prior (docs/method.md, "K-priors")


@pytest.mark.slow
def test_error_of_the_gradient_is_what_was_left_out_and_the_residuals_times_the_change_of_the_jacobian() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(9, 4, generator=generator).double(), torch.arange(9) % 3
    shapes = ((5, 4), (3, 5))

    def network(weights: Tensor, images: Tensor) -> Tensor:
        first, last = weights[:20].view(shapes[0]), weights[20:].view(shapes[1])
        return torch.tanh(images @ first.T) @ last.T

    def loss(weights: Tensor) -> Tensor:
        return F.cross_entropy(network(weights, inputs), labels, reduction="sum") + DELTA / 2 * weights.square().sum()

    old = torch.randn(35, generator=generator).double()
    for _ in range(400):  # to stationarity, where the past gradient is zero
        hessian = torch.func.hessian(loss)(old)
        values, vectors = torch.linalg.eigh(hessian)
        if torch.func.grad(loss)(old).norm() < 1e-10:
            break
        old = old - 0.5 * vectors @ ((vectors.T @ torch.func.grad(loss)(old)) / values.abs().clamp_min(1e-3))
    assert torch.func.grad(loss)(old).norm() < 1e-9
    new = old + 0.5 * torch.randn(35, generator=generator).double()

    memory, left_out = torch.arange(0, 9, 2), torch.arange(1, 9, 2)
    probs = lambda weights: network(weights, inputs).softmax(dim=1)  # noqa: E731

    def prior(weights: Tensor) -> Tensor:
        ones, zeros = torch.ones(5).double(), torch.zeros(5).double()
        return point_loss(network(weights, inputs[memory]), labels[memory], probs(old)[memory], ones, zeros)

    gradient = torch.func.grad(prior)(new) + weight_gradient(new, old, DELTA, DELTA)
    jacobian = lambda weights: torch.func.jacrev(network)(weights, inputs)  # noqa: E731  # [9, 3, 35]
    residual = probs(old) - F.one_hot(labels, 3)
    unseen = torch.einsum("nkp,nk->p", jacobian(new)[left_out], (probs(new) - probs(old))[left_out])
    bent = torch.einsum("nkp,nk->p", jacobian(new) - jacobian(old), residual)
    error = torch.func.grad(loss)(new) - gradient
    close(error, unseen + bent, 1e-8)
    assert min(unseen.norm(), bent.norm()) > 1e-2 * error.norm()


# Mistakes


@pytest.mark.parametrize(
    ("removed", "error", "message"),
    [
        (torch.tensor([60]), ValueError, "expected removed rows in the memory, 0 to 59, found"),
        (torch.tensor([-1]), ValueError, "expected removed rows in the memory"),
        (torch.tensor([2, 2]), ValueError, "every removed row once"),
        (torch.tensor([1.0]), TypeError, "expected removed rows as int64"),
        (torch.arange(ROWS), ValueError, "nothing is left after the removal"),
    ],
)
def test_rows_that_cannot_be_removed(removed: Tensor, error: type[Exception], message: str) -> None:
    samples, prior = everything()
    with pytest.raises(error, match=message):
        adapt_head(prior, removed=(removed, samples.targets[removed.long().clamp(0, ROWS - 1)]))


def test_a_removed_row_must_be_remembered_whole() -> None:
    samples, head = past()
    prior = remember(samples.features, head, DELTA, torch.full((ROWS,), 0.5))
    with pytest.raises(ValueError, match="a weight of at least 1; raise it to 1"):
        adapt_head(prior, removed=(torch.tensor([0]), samples.targets[:1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(4, 5)}, "expected head"),
        ({"weights": torch.ones(3)}, r"expected weights \[60\], >= 0, found \[3\]"),
        ({"weights": -torch.ones(ROWS)}, r"expected weights \[60\], >= 0"),
        ({"weight_decay": -1.0}, "expected weight_decay >= 0"),
        ({"head": torch.full((3, 7), torch.nan)}, "expected finite features and head"),
    ],
)
def test_what_cannot_be_remembered(change: dict[str, Any], message: str) -> None:
    samples, head = past()
    arguments: dict[str, Any] = {"features": samples.features, "head": head, "weight_decay": DELTA}
    with pytest.raises(ValueError, match=message):
        remember(**(arguments | change))


def test_other_features_need_the_same_inputs() -> None:
    _, prior = everything()
    with pytest.raises(ValueError, match="expected one row of features for each of 60 inputs"):
        with_features(prior, prior.features[:5])
    by_column = remember(prior.features, prior.head, torch.linspace(0, 1, 7))
    with pytest.raises(ValueError, match="a decay for each column has no meaning"):
        with_features(by_column, prior.features[:, :3])
