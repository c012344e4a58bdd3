r"""Influence, self-influence and a mislabel score of every training sample.

    influence        -<H^-1 g_val, g_i>   value / N: decrease of the held-out loss if the sample is removed
    self-influence   <g_i, H^-1 g_i>      influence of the sample on its own loss
    mislabel         (l_i + l_-i) / 2     loss under the network, and under a head fitted without the sample

Influence refers to a head refitted to stationarity on the given features, since a head trained by SGD is not at a
minimum. For the refit the features are centered and divided by one number that makes their mean variance 1, so that
the decay of the refit has the same effect for every network.

Randomly flipped labels are ranked best by the loss under a classifier that was not trained on the sample; the loss
under the network itself is low for memorized labels. `l_-i` removes the part of the head in closed form. The features
may have memorized the image as well, so `l_-i` is best computed from features averaged over shifted views. `l_i`, of
the image itself, is near zero where labels are memorized, and keeps the ranking right for networks that are not
invariant to shifts.

Axes: N training samples, M held-out samples, D features, K classes. Source: docs/method.md, "Self-influence".
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.attribution.self_influence import ResponseMethod, SelfResponse, leave_one_out_logits, self_influence
from influence.checks import check_finite, check_rows
from influence.last_layer import LastLayerHessian, append_bias, loss_gradient
from influence.refit import Samples, refit_head
from influence.sample_influence import upweight_influence
from influence.solvers import Solution, solve

_DECAY = 0.01  # of the refit, on every column; the ranking changes little between 0.003 and 0.03
_REFIT_TOLERANCE = 1e-6
_SOLVE_TOLERANCE = 1e-6
_CHUNK = 512  # rows


@dataclass(frozen=True)
class Attribution:
    """Scores of N training samples, in their order, in float64.

    Attributes:
        influence: `[N]`; positive is harmful: the mean held-out loss rises with the weight of the sample.
        self_influence: `[N]`, >= 0.
        mislabel: `[N]`, >= 0: mean of the losses of the given label under the network and under a head fitted without
            the sample; high values are suspect.
        suggested: `[N]` int64, the most probable class under the head fitted without the sample.
        solution: The solution from which `influence` is computed.
    """

    influence: Tensor
    self_influence: Tensor
    mislabel: Tensor
    suggested: Tensor
    solution: Solution


@torch.no_grad()
def attribute(
    training: Samples,
    logits: Tensor,
    held_out: Samples,
    *,
    views: Tensor | None = None,
    method: ResponseMethod = "auto",
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Attribution:
    """Score every training sample.

    Args:
        training: Features `[N, D]` and labels `[N]` int64.
        logits: `[N, K]`, the network's logits of the training samples.
        held_out: Features and labels of the influence set, `M` rows; its labels are assumed correct.
        views: `[N, D]`, features of each training sample averaged over augmented views, for the mislabel score; `None`
            takes the features of `training`.
        method: Inverse of the Hessian for single samples, see `SelfResponse`.
        on_rows: Called with the number of rows that were scored, for a progress bar; the calls sum to N, or to 2 N
            with `views`.

    Raises:
        TypeError: If labels are not int64 or features are not floating point.
        ValueError: If shapes or labels are invalid, a value is not finite, or all features are constant.

    Warns:
        ConvergenceWarning: If the refit or the solve misses its tolerance.

    Example:
        >>> features = torch.tensor([[-1.0], [-1.2], [-0.9], [1.0], [1.1], [1.2], [-1.1]])
        >>> samples = Samples(features, torch.tensor([0, 0, 0, 1, 1, 1, 1]))
        >>> scores = attribute(samples, torch.cat([-features, features], dim=1), samples)
        >>> int(scores.mislabel.argmax()), int(scores.suggested[6])
        (6, 0)
    """
    _check(training, logits, held_out, views)
    num_classes = logits.shape[1]
    fit = _Fit(training, num_classes)
    held_out_features, held_out_logits = fit.predict(held_out.features)
    gradient = loss_gradient(held_out_features, held_out_logits, held_out.targets)
    solution = solve(fit.hessian, gradient, tol=_SOLVE_TOLERANCE, max_iterations=5000)
    own, without = fit.leave_each_out(method, on_rows)
    if views is not None:
        _, without = _Fit(Samples(views, training.targets), num_classes).leave_each_out(method, on_rows)
    losses = [
        torch.nn.functional.cross_entropy(scores.double(), training.targets, reduction="none")
        for scores in (logits, without)
    ]
    return Attribution(
        influence=upweight_influence(solution, fit.features, fit.logits, fit.labels),
        self_influence=own,
        mislabel=(losses[0] + losses[1]) / 2,
        suggested=without.argmax(dim=1),
        solution=solution,
    )


class _Fit:
    """A head refitted on standardized features, and its Hessian; in float64."""

    def __init__(self, samples: Samples, num_classes: int) -> None:
        features = samples.features.double()
        variance = features.var(dim=0, correction=0).mean()
        if not bool(variance > 0):
            raise ValueError("expected features that vary, found one row everywhere; check the model and its input")
        self.mean, self.scale = features.mean(dim=0), variance.rsqrt()
        self.features, self.labels = (features - self.mean) * self.scale, samples.targets
        decay = features.new_full((features.shape[1] + 1,), _DECAY)
        fitted = Samples(self.features, self.labels)
        self.head = refit_head(fitted, num_classes, weight_decay=decay, tol=_REFIT_TOLERANCE)
        self.logits = append_bias(self.features) @ self.head.T
        self.hessian = LastLayerHessian(self.features, self.logits, damping=0.0, weight_decay=decay)

    def predict(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return other features, standardized alike, and their logits."""
        features = (features.double() - self.mean) * self.scale
        return features, append_bias(features) @ self.head.T

    def leave_each_out(self, method: ResponseMethod, on_rows: Callable[[int], None]) -> tuple[Tensor, Tensor]:
        """Return self-influence `[N]`, and the logits `[N, K]` of each sample under the head fitted without it."""
        respond = SelfResponse(self.hessian, method)
        own, left_out = [], []
        for part in torch.arange(len(self.labels), device=self.labels.device).split(_CHUNK):
            rows = self.features[part], self.logits[part], self.labels[part]
            response = respond(*rows)
            own.append(self_influence(response, *rows[1:]))
            left_out.append(leave_one_out_logits(response, *rows[1:], num_rows=len(self.labels)))
            on_rows(len(part))
        return torch.cat(own), torch.cat(left_out)


def _check(training: Samples, logits: Tensor, held_out: Samples, views: Tensor | None) -> None:
    for name, samples in (("training", training), ("held-out", held_out)):
        if samples.targets.is_floating_point():
            raise TypeError(f"expected {name} labels [N] int64, found {samples.targets.dtype}; pass class indices")
        if samples.features.ndim != 2 or not len(samples.features):
            raise ValueError(
                f"expected {name} features [N, D] with N >= 1, found {list(samples.features.shape)}; "
                "flatten the input of the last linear layer to one row per sample"
            )
        if not bool(torch.isfinite(samples.features).all()):
            raise ValueError(f"expected finite {name} features, found NaN or infinity; check the model's weights")
    check_rows(training.features, logits)
    check_finite("logits", logits)
    if training.features.shape[1] != held_out.features.shape[1]:
        raise ValueError(
            f"expected features of one width, found {training.features.shape[1]} in training and "
            f"{held_out.features.shape[1]} held out; take both from the same layer"
        )
    if views is not None and views.shape != training.features.shape:
        raise ValueError(
            f"expected views {list(training.features.shape)}, one row a training sample, found {list(views.shape)}; "
            "average the features over the views of each sample"
        )
