"""Every refusal says what was expected, what was found and what to do."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from influence import (
    FeatureBank,
    LastLayerHessian,
    loss_gradient,
    replacement_influence,
    residual,
    solve,
    upweight_influence,
)

FEATURES, LOGITS, LABELS = torch.randn(4, 2), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
GRADIENT = torch.randn(3, 3)


def hessian(**options: Any) -> LastLayerHessian:
    return LastLayerHessian(FEATURES, LOGITS, **options)


def spoiled(tensor: Tensor, value: float) -> Tensor:
    tensor = tensor.clone()
    tensor[0, 0] = value
    return tensor


def large() -> LastLayerHessian:
    return LastLayerHessian(torch.zeros(1, 20_000), torch.zeros(1, 2), damping_mode="absolute")


INVALID: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "features not a matrix": (
        lambda: LastLayerHessian(torch.zeros(4, 2, 2), LOGITS),
        ValueError,
        r"expected features \[N, D\].*found \[4, 2, 2\].*flatten",
    ),
    "rows differ": (lambda: LastLayerHessian(FEATURES[:3], LOGITS), ValueError, "found 4 and 3"),
    "one class": (lambda: LastLayerHessian(FEATURES, LOGITS[:, :1]), ValueError, "at least 2 classes, found 1"),
    "integer features": (lambda: LastLayerHessian(FEATURES.long(), LOGITS), TypeError, "found torch.int64"),
    "nan features": (lambda: LastLayerHessian(spoiled(FEATURES, float("nan")), LOGITS), ValueError, "finite"),
    "infinite logits": (lambda: LastLayerHessian(FEATURES, spoiled(LOGITS, float("inf"))), ValueError, "finite"),
    "nan in gradient": (lambda: loss_gradient(spoiled(FEATURES, float("nan")), LOGITS, LABELS), ValueError, "finite"),
    "negative damping": (lambda: hessian(damping=-1.0), ValueError, "damping >= 0, found -1"),
    "nan damping": (lambda: hessian(damping=float("nan")), ValueError, "damping >= 0, found nan"),
    "damping mode": (lambda: hessian(damping_mode="exact"), ValueError, "found 'exact'"),
    "negative decay": (lambda: hessian(weight_decay=-0.1), ValueError, "weight_decay >= 0"),
    "decay of wrong length": (lambda: hessian(weight_decay=torch.ones(2)), ValueError, r"\[3\], found \[2\]"),
    "weights of wrong length": (lambda: hessian(sample_weights=torch.ones(3)), ValueError, r"\[4\], found \[3\]"),
    "negative weight": (lambda: hessian(sample_weights=-torch.ones(4)), ValueError, "weights >= 0"),
    "no weight": (lambda: hessian(sample_weights=torch.zeros(4)), ValueError, "at least one positive"),
    "no rows": (lambda: LastLayerHessian(FEATURES[:0], LOGITS[:0]), ValueError, "at least one positive"),
    "matrix of wrong shape": (lambda: hessian() @ torch.ones(3, 2), ValueError, r"\[3, 3\], found \[3, 2\]"),
    "labels not int64": (lambda: residual(LOGITS, LABELS.int()), TypeError, r"int64.*\.long"),
    "label too large": (lambda: residual(LOGITS, LABELS + 1), ValueError, r"\[0, 3\), found \[1, 3\]"),
    "label negative": (lambda: residual(LOGITS, LABELS - 1), ValueError, r"\[0, 3\), found \[-1, 1\]"),
    "labels too few": (lambda: residual(LOGITS, LABELS[:3]), ValueError, "expected 4 labels.*found 3"),
    "probabilities of wrong shape": (lambda: residual(LOGITS, torch.ones(4, 2)), ValueError, r"found \[4, 2\]"),
    "integer probabilities": (lambda: residual(LOGITS, torch.ones(4, 3).long()), TypeError, "probabilities"),
    "probabilities not summing to 1": (lambda: residual(LOGITS, torch.ones(4, 3)), ValueError, "sum 1"),
    "negative probability": (
        lambda: residual(LOGITS, torch.tensor([[1.5, -0.5, 0.0]]).expand(4, 3)),
        ValueError,
        "in row 0",
    ),
    "nan probability": (lambda: residual(LOGITS, torch.full((4, 3), float("nan"))), ValueError, "sum 1"),
    "gradient of wrong shape": (lambda: solve(hessian(), torch.ones(3, 2)), ValueError, "expected gradient"),
    "nan gradient": (lambda: solve(hessian(), spoiled(GRADIENT, float("nan"))), ValueError, "finite gradient"),
    "nan start": (
        lambda: solve(hessian(), GRADIENT, initial=spoiled(GRADIENT, float("nan"))),
        ValueError,
        "finite initial",
    ),
    "unknown method": (lambda: solve(hessian(), GRADIENT, "lissa"), ValueError, "neumann.*found 'lissa'"),  # type: ignore[arg-type]
    "zero tolerance": (lambda: solve(hessian(), GRADIENT, tol=0.0), ValueError, "tol > 0"),
    "no iterations": (lambda: solve(hessian(), GRADIENT, max_iterations=0), ValueError, "max_iterations >= 1"),
    "kronecker undamped": (
        lambda: solve(hessian(damping=0.0), GRADIENT, "kronecker_cg"),
        ValueError,
        "every column for kronecker_cg.*method='cg'",
    ),
    "woodbury undamped": (lambda: solve(hessian(damping=0.0), GRADIENT, "woodbury"), ValueError, "for woodbury"),
    "too large for a dense matrix": (
        lambda: solve(large(), torch.ones(2, 20_001), "cholesky"),
        ValueError,
        "at most 20,000 unknowns for cholesky, found 40,002.*6 GB",
    ),
    "solution of another layer": (
        lambda: upweight_influence(torch.ones(3, 4), FEATURES, LOGITS, LABELS),
        ValueError,
        r"expected a solution \[3, 3\], found \[3, 4\]",
    ),
    "unpaired replacement": (
        lambda: replacement_influence(GRADIENT, (FEATURES, LOGITS, LABELS), (FEATURES[:2], LOGITS[:2], LABELS[:2])),
        ValueError,
        "found 2 for 4",
    ),
    "empty bank": (lambda: FeatureBank(0), ValueError, "capacity >= 1, found 0"),
    "bank without rows": (lambda: FeatureBank(1).rows(), ValueError, "call add"),
    "bank of a foreign state": (
        lambda: FeatureBank(1).load_state_dict({"weights": FEATURES}),
        ValueError,
        r"\['weights'\]",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), INVALID.values(), ids=INVALID.keys())
def test_invalid_input_is_refused_with_advice(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
