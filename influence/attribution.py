r"""Which training samples harm, which help, and which are probably mislabelled.

All scores are those of a head refitted to stationarity on the given features, where influence predicts what refitting
would find; a head left by SGD is no minimum. For the refit the features are centred and divided by one number, which
brings their mean variance to 1, so that its decay means the same for every network.

    influence        -<H^-1 g_val, g_i>   its value / N is how much the held-out loss falls without the sample
    self-influence   <g_i, H^-1 g_i>      how far the sample bends the head towards itself
    mislabel         -log p_-i(y_i)       the sample's loss under the head fitted without it

Labels flipped at random are expected to be ranked best by the probability that a classifier *which has not seen the
sample* gives to its label; what spoils the plain loss is memory. The head's part of it is removed in closed form
(`p_-i`), that of the features by averaging them over augmented views. Influence on the held-out loss asks what
matters to the held-out set, and a wrong label of an unimportant sample does not.

Axes: N training samples, M held-out samples, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.last_layer import LastLayerHessian, append_bias, loss_gradient
from influence.objectives import upweight_influence
from influence.refit import Samples, refit_head
from influence.self_influence import ResponseMethod, SelfResponse, leave_one_out_logits, self_influence
from influence.solvers import Solution, solve

_DECAY = 0.03  # of the refit, on every column; between 0.01 and 0.1 the ranking hardly changes
_REFIT_TOLERANCE = 1e-6
_SOLVE_TOLERANCE = 1e-6
_CHUNK = 512  # rows


@dataclass(frozen=True)
class Attribution:
    """Scores of N training samples, in their order, in float64.

    Attributes:
        influence: `[N]`; positive is harmful: the mean held-out loss rises when the sample gets more weight.
        self_influence: `[N]`, >= 0.
        mislabel: `[N]`, >= 0: loss of the given label under the head fitted without the sample; high is suspect.
        suggested: `[N]` int64, the class that head finds most probable; often the given one.
        solution: The solve behind `influence`.
    """

    influence: Tensor
    self_influence: Tensor
    mislabel: Tensor
    suggested: Tensor
    solution: Solution


@torch.no_grad()
def attribute(
    training: Samples,
    held_out: Samples,
    num_classes: int,
    *,
    method: ResponseMethod = "auto",
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Attribution:
    """Score every training sample.

    Args:
        training: Features `[N, D]`, best averaged over augmented views of each image, and labels `[N]` int64.
        held_out: The same of the influence set, `M` rows; its labels are trusted.
        num_classes: K.
        method: How single samples are solved for, see `SelfResponse`.
        on_rows: Called with the number of rows that were scored, for a progress bar.

    Returns:
        The scores.

    Raises:
        TypeError: If labels are not int64 or features are not floating point.
        ValueError: If shapes or labels are invalid, a value is not finite, or all features are constant.

    Warns:
        ConvergenceWarning: If the refit or the solve misses its tolerance.

    Example:
        >>> features = torch.tensor([[-1.0], [-1.2], [-0.9], [1.0], [1.1], [1.2], [-1.1]])
        >>> samples = Samples(features, torch.tensor([0, 0, 0, 1, 1, 1, 1]))
        >>> scores = attribute(samples, samples, num_classes=2)
        >>> int(scores.mislabel.argmax()), int(scores.suggested[6])
        (6, 0)
    """
    _check(training, held_out)
    features, held_out_features = _standardised(training.features.double(), held_out.features.double())
    labels, decay = training.targets, features.new_full((features.shape[1] + 1,), _DECAY)
    head = refit_head(Samples(features, labels), num_classes, weight_decay=decay, tol=_REFIT_TOLERANCE)
    logits = append_bias(features) @ head.T
    hessian = LastLayerHessian(features, logits, damping=0.0, weight_decay=decay)
    gradient = loss_gradient(held_out_features, append_bias(held_out_features) @ head.T, held_out.targets)
    solution = solve(hessian, gradient, tol=_SOLVE_TOLERANCE, max_iterations=5000)
    respond = SelfResponse(hessian, method)
    own, left_out = [], []
    for part in torch.arange(len(labels), device=labels.device).split(_CHUNK):
        rows = features[part], logits[part], labels[part]
        response = respond(*rows)
        own.append(self_influence(response, *rows[1:]))
        left_out.append(leave_one_out_logits(response, *rows[1:], num_rows=len(labels)))
        on_rows(len(part))
    without = torch.cat(left_out)
    return Attribution(
        influence=upweight_influence(solution, features, logits, labels),
        self_influence=torch.cat(own),
        mislabel=torch.nn.functional.cross_entropy(without, labels, reduction="none"),
        suggested=without.argmax(dim=1),
        solution=solution,
    )


def _standardised(training: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Both, shifted and scaled alike: the training features get mean 0 and, on average over the columns, variance 1."""
    variance = training.var(dim=0, correction=0).mean()
    if not bool(variance > 0):
        raise ValueError("expected features that vary, found the same row everywhere; check the model and its input")
    mean, scale = training.mean(dim=0), variance.rsqrt()
    return (training - mean) * scale, (held_out - mean) * scale


def _check(training: Samples, held_out: Samples) -> None:
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
    if training.features.shape[1] != held_out.features.shape[1]:
        raise ValueError(
            f"expected features of one width, found {training.features.shape[1]} in training and "
            f"{held_out.features.shape[1]} held out; take both from the same layer"
        )
