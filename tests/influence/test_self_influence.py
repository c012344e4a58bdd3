from typing import Any

import pytest
import torch
import torch.nn.functional as F
from influence_cases import close, clusters
from refitted_changes import left_out_heads
from torch import Tensor

from influence import LastLayerHessian, Samples, append_bias, refit_head, residual
from influence.attribution import SelfResponse, leave_one_out_logits, self_influence

CLASSES = 3
DECAY = torch.full((7,), 0.03, dtype=torch.float64)


class Fitted:
    """A head fitted to stationarity, with everything the responses need."""

    def __init__(self, rows: int = 40, spread: float = 0.9, decay: Tensor = DECAY, classes: int = CLASSES) -> None:
        self.features, self.labels = clusters(rows, seed=0, spread=spread, classes=classes)
        self.decay = decay
        self.head = refit_head(Samples(self.features, self.labels), classes, weight_decay=decay)
        self.logits = append_bias(self.features) @ self.head.T
        self.hessian = LastLayerHessian(self.features, self.logits, damping=0.0, weight_decay=decay)

    @property
    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.features, self.logits, self.labels

    def response(self, **options: Any) -> Tensor:
        return SelfResponse(self.hessian, **options)(*self.rows)

    def losses_when_left_out(self) -> Tensor:
        """Each sample's own loss from a head that was really refitted without it."""
        heads = left_out_heads(Samples(self.features, self.labels), self.head, self.decay)
        logits = torch.einsum("nkd,nd->nk", torch.stack(heads), append_bias(self.features))
        return F.cross_entropy(logits, self.labels, reduction="none")


def dense_inverse_gradients(fitted: Fitted) -> tuple[Tensor, Tensor]:
    """Flat gradients and `H^-1 g` of every sample, by the dense matrix."""
    error = residual(fitted.logits, fitted.labels)
    gradients = (error[:, :, None] * append_bias(fitted.features)[:, None, :]).flatten(1)
    return gradients, torch.linalg.solve(fitted.hessian.dense(), gradients.T).T


def test_response_and_self_influence_are_those_of_the_dense_matrix() -> None:
    fitted = Fitted()
    gradients, solved = dense_inverse_gradients(fitted)
    response = fitted.response(method="dense")
    expected = torch.einsum("bkd,bd->bk", solved.view(-1, CLASSES, 7), append_bias(fitted.features))
    close(response, expected)
    close(self_influence(response, fitted.logits, fitted.labels), (gradients * solved).sum(dim=1))
    assert float(response.sum(dim=1).abs().max()) < 1e-10 * float(response.abs().max())


def test_soft_targets_enter_the_gradient() -> None:
    fitted = Fitted()
    soft = 0.8 * F.one_hot(fitted.labels, CLASSES).double() + 0.2 / CLASSES
    response = SelfResponse(fitted.hessian)(fitted.features, fitted.logits, soft)
    error = fitted.logits.softmax(dim=1) - soft
    gradients = (error[:, :, None] * append_bias(fitted.features)[:, None, :]).flatten(1)
    solved = torch.linalg.solve(fitted.hessian.dense(), gradients.T).T
    close(self_influence(response, fitted.logits, soft), (gradients * solved).sum(dim=1))


def test_ekfac_is_exact_where_the_hessian_is_a_kronecker_product() -> None:
    """At a head of zeros all rows have the same probabilities, so that H is one Kronecker product."""
    features, labels = clusters(40, seed=0)
    logits = torch.zeros(40, CLASSES, dtype=torch.float64)
    hessian = LastLayerHessian(features, logits, damping=1e-3)
    close(*(SelfResponse(hessian, method=m)(features, logits, labels) for m in ("ekfac", "dense")))  # type: ignore[arg-type]


def test_ekfac_ranks_nearly_like_the_dense_inverse() -> None:
    fitted = Fitted(rows=300)
    dense, kronecker = (
        self_influence(fitted.response(method=method), fitted.logits, fitted.labels) for method in ("dense", "ekfac")
    )
    ranks = torch.stack([dense.argsort().argsort().double(), kronecker.argsort().argsort().double()])
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.98


def test_auto_is_dense_for_small_heads_and_kronecker_for_large_ones() -> None:
    assert SelfResponse(Fitted().hessian).method == "dense"
    large = LastLayerHessian(torch.randn(5, 500), torch.randn(5, 10), damping=1.0)
    assert SelfResponse(large).method == "ekfac"


@pytest.mark.parametrize("rows", [12, 40, 120])
def test_left_out_loss_is_that_of_a_refit(rows: int) -> None:
    """From few rows, of which each has much leverage, to many; the first-order estimate is far too small."""
    fitted = Fitted(rows)
    loss = F.cross_entropy(fitted.logits, fitted.labels, reduction="none")
    actual = fitted.losses_when_left_out() - loss
    response = fitted.response()
    logits = leave_one_out_logits(response, fitted.logits, fitted.labels, num_rows=rows)
    predicted = F.cross_entropy(logits, fitted.labels, reduction="none") - loss
    linear = self_influence(response, fitted.logits, fitted.labels) / rows
    assert float(torch.corrcoef(torch.stack([predicted, actual]))[0, 1]) > 0.99
    slope = float((predicted * actual).sum() / (predicted * predicted).sum())
    assert 0.9 < slope < 1.1
    assert (predicted - actual).abs().sum() < 0.25 * (linear - actual).abs().sum()


def test_two_classes_give_the_newton_step() -> None:
    """With one direction of the gradient, the line search is the Newton step of the problem without the sample."""
    fitted = Fitted(classes=2)
    error = residual(fitted.logits, fitted.labels)
    logits = leave_one_out_logits(fitted.response(), fitted.logits, fitted.labels, num_rows=40)
    rows, probs = append_bias(fitted.features), fitted.logits.softmax(dim=1)
    for index in range(40):
        own = torch.diag(probs[index]) - torch.outer(probs[index], probs[index])
        without = fitted.hessian.dense() - torch.kron(own, torch.outer(rows[index], rows[index])) / 40
        gradient = torch.outer(error[index], rows[index]).flatten() / 40
        step = torch.linalg.solve(without, gradient).view(2, 7)
        close(logits[index], fitted.logits[index] + step @ rows[index], 1e-9)


def test_rows_may_come_in_any_order_and_batches() -> None:
    fitted = Fitted()
    respond = SelfResponse(fitted.hessian)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    parts = [respond(*(part[chosen] for part in fitted.rows)) for chosen in order.split(7)]
    close(torch.cat(parts), respond(*fitted.rows)[order])


@pytest.mark.parametrize("seed", [0, 1, 11])
def test_extreme_rows_stay_finite(seed: int) -> None:
    """Mean eigenvalues down to 1e-177: the square of a response overflows."""
    features, labels = clusters(30, seed=0)
    head = torch.randn(CLASSES, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    logits = 1e3 * append_bias(features) @ head.T
    for method in ("dense", "ekfac"):
        response = SelfResponse(LastLayerHessian(features, logits, damping=1e-3), method=method)(
            features, logits, labels
        )
        assert bool(torch.isfinite(leave_one_out_logits(response, logits, labels, num_rows=30)).all())


def test_errors() -> None:
    fitted = Fitted()
    undamped = LastLayerHessian(fitted.features, fitted.logits, damping=0.0)
    with pytest.raises(ValueError, match="damping or decay > 0"):
        SelfResponse(undamped)
    with pytest.raises(ValueError, match="expected method one of auto, dense, ekfac, found 'lu'"):
        SelfResponse(fitted.hessian, method="lu")  # type: ignore[arg-type]
    respond = SelfResponse(fitted.hessian)
    with pytest.raises(ValueError, match=r"found \[3, 6\]"):
        respond(fitted.features[:, :-1], fitted.logits, fitted.labels)
    response = respond(*fitted.rows)
    with pytest.raises(ValueError, match="one row for each row of logits"):
        self_influence(response[1:], fitted.logits, fitted.labels)
    with pytest.raises(ValueError, match="num_rows >= 1"):
        leave_one_out_logits(response, fitted.logits, fitted.labels, num_rows=0)
