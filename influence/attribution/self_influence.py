r"""Self-influence of each sample, and its logits under the head fitted without it.

Sample `i` has the gradient `g_i = r_i a_i^T` with `r_i = p_i - q_i`, and the curvature `C_i = diag p_i - p_i p_i^T`.
Both quantities follow from the response of its own logits to its own gradient, a vector of length K:

    response         v_i = (H^-1 g_i) a_i
    self-influence   s_i = <g_i, H^-1 g_i> = r_i^T v_i          (Koh and Liang, ICML 2017, Eq. 5 with z_test = z)
    left out         z_i + t_i v_i / N,    t_i = 1 / (1 - v_i^T C_i v_i / (N s_i))

Without the factor `t_i` the last line is the first-order estimate of Koh and Liang, which is too small for samples of
high leverage. `t_i` is the exact line search along that direction on the quadratic objective without sample `i`; for
two classes it gives the Newton step, exact in the quadratic approximation (Rad and Maleki, JRSS B 2020).

Axes: N training rows, B rows of a call, D features, K classes; `a = [h; 1]`. Source: docs/method.md, "Self-influence".
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from influence.checks import check_matrix, check_rows, check_targets
from influence.last_layer import LastLayerHessian, append_bias, residual
from influence.precision import full_precision
from influence.solvers.kronecker import ekfac_response
from influence.solvers.solution import check_damped

ResponseMethod = Literal["auto", "dense", "ekfac"]
"""Inverse of the Hessian: dense, its EK-FAC approximation, or dense up to 4,096 unknowns (`auto`)."""
_MAX_DENSE = 4096  # most unknowns K (D+1) for which "auto" inverts the matrix: 134 MB in float64
_MOST_LEVERAGE = 0.99  # in t = 1 / (1 - leverage); only an approximate inverse exceeds it


class SelfResponse:
    """Responses `v_i = (H^-1 g_i) a_i` of any number of samples after one factorization; all detached.

    Args:
        hessian: The damped or decayed Hessian of all training rows.
        method: "dense" inverts the `[K(D+1), K(D+1)]` matrix exactly, in float64; "ekfac" inverts the Kronecker
            approximation with the exact diagonal in its eigenbasis, at `K^2 + D^2` operations per sample; "auto" is
            "dense" up to 4,096 unknowns and "ekfac" above.

    Attributes:
        method: The method in force.

    Raises:
        ValueError: If a column has neither damping nor decay, the method is unknown, or the matrix is not positive
            definite.
    """

    @torch.no_grad()
    def __init__(self, hessian: LastLayerHessian, method: ResponseMethod = "auto") -> None:
        if method not in get_args(ResponseMethod):
            raise ValueError(f"expected method one of {', '.join(get_args(ResponseMethod))}, found {method!r}")
        classes, columns = hessian.shape
        check_damped(hessian, "self-influence")
        self.shape = hessian.shape
        self.method = method if method != "auto" else "dense" if classes * columns <= _MAX_DENSE else "ekfac"
        if self.method == "ekfac":
            self._respond = ekfac_response(hessian)
        else:
            inverse = _inverse(hessian)

            def respond(residuals: Tensor, rows: Tensor) -> Tensor:
                gradients = (residuals[:, :, None] * rows[:, None, :]).flatten(1).to(inverse)  # [B, K(D+1)]
                solved = (gradients @ inverse).view(-1, classes, columns)
                return torch.einsum("bkd,bd->bk", solved, rows.to(inverse)).to(rows)

            self._respond = respond

    @torch.no_grad()
    def __call__(self, features: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the responses of a batch of samples.

        Args:
            features: `[B, D]`.
            logits: `[B, K]`.
            targets: `[B]` int64 or `[B, K]` probabilities.

        Returns:
            `[B, K]`; each row sums to 0.

        Raises:
            TypeError: If labels are not int64 or features and logits are not floating point.
            ValueError: If shapes do not match the Hessian, or targets are invalid.
        """
        features, logits = check_rows(features, logits)
        rows = append_bias(features)
        check_matrix("rows of a last layer", rows.new_empty(logits.shape[1], rows.shape[1]), self.shape)
        with full_precision(rows):
            return self._respond(residual(logits, targets), rows)


def self_influence(response: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the influence of each sample on its own loss, `<g_i, H^-1 g_i>`.

    Divided by the number of training rows it is, to first order, the increase of the sample's loss when the sample is
    left out. It is large for samples that the other samples contradict.

    Args:
        response: `[B, K]` from `SelfResponse`.
        logits: `[B, K]`.
        targets: `[B]` int64 or `[B, K]` probabilities.

    Returns:
        `[B]`, >= 0.

    Raises:
        TypeError: If labels are not int64 or logits are not floating point.
        ValueError: If shapes do not match or targets are invalid.
    """
    _check_response(response, logits)
    return (residual(logits, targets) * response).sum(dim=1)


def leave_one_out_logits(response: Tensor, logits: Tensor, targets: Tensor, num_rows: int) -> Tensor:
    """Return the logits of each sample under the head fitted without it, by one line search along its influence.

    The estimate holds at a stationary point, for a head that minimizes the mean loss of `num_rows` rows plus decay, and
    for removal with the divisor left at `num_rows`, as in `refit_head`.

    Args:
        response: `[B, K]` from `SelfResponse`.
        logits: `[B, K]` of the head fitted with all rows.
        targets: `[B]` int64 or `[B, K]` probabilities.
        num_rows: N, rows of the training set behind the Hessian, >= 1.

    Returns:
        `[B, K]`.

    Raises:
        TypeError: If labels are not int64 or logits are not floating point.
        ValueError: If shapes, targets or `num_rows` are invalid.
    """
    if num_rows < 1:
        raise ValueError(f"expected num_rows >= 1, found {num_rows}; pass the size of the training set")
    _check_response(response, logits)
    tiny = torch.finfo(logits.dtype).tiny
    size = response.abs().amax(dim=1, keepdim=True).clamp(min=tiny)
    unit = response / size  # the square of a response overflows where the Hessian is nearly 0
    probs = logits.softmax(dim=1)
    spread = unit - (probs * unit).sum(dim=1, keepdim=True)
    curvature = size[:, 0] * (probs * spread.square()).sum(dim=1)  # v^T C v / size
    own = self_influence(unit, logits, check_targets(targets, logits))
    leverage = (curvature / (num_rows * own).clamp(min=tiny)).clamp(max=_MOST_LEVERAGE)
    return logits + response / (num_rows * (1 - leverage))[:, None]


def _inverse(hessian: LastLayerHessian) -> Tensor:
    """Return the inverse of the Hessian as a matrix, in float64."""
    factor, failed = torch.linalg.cholesky_ex(hessian.dense().double())
    if bool(failed):
        raise ValueError("expected a positive definite Hessian, found it numerically singular; raise damping or decay")
    return torch.cholesky_inverse(factor)


def _check_response(response: Tensor, logits: Tensor) -> None:
    if response.shape != logits.shape:
        raise ValueError(
            f"expected a response {list(logits.shape)}, one row for each row of logits, found "
            f"{list(response.shape)}; call SelfResponse with the same rows"
        )
