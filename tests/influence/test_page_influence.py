"""The lines of the documentation on the influence engine, run as they stand there."""

import re
from pathlib import Path
from typing import Any

import torch
from influence_cases import case

PAGE = Path(__file__).parents[2] / "docs" / "influence.md"


def test_the_example_ranks_by_the_derivative_of_the_held_out_loss() -> None:
    (code,) = re.findall(r"```python\n(from influence import .*?)```", PAGE.read_text(), re.DOTALL)
    training, held_out = case(rows=60), case(rows=30, seed=5)
    names: dict[str, Any] = {
        "features": training.features,
        "logits": training.logits,
        "labels": training.targets,
        "held_out_features": held_out.features,
        "held_out_logits": held_out.logits,
        "held_out_labels": held_out.targets,
    }
    exec(code, names)
    hessian, influence = names["hessian"], names["influence"]
    rows, errors = hessian.rows, training.logits.softmax(dim=1)
    errors = errors - torch.nn.functional.one_hot(training.targets, errors.shape[1])
    right = torch.cat([held_out.features, held_out.features.new_ones(30, 1)], dim=1)
    error = held_out.logits.softmax(dim=1) - torch.nn.functional.one_hot(held_out.targets, errors.shape[1])
    exact = torch.linalg.solve(hessian.dense(), (error.T @ right / 30).flatten()).view(hessian.shape)
    expected = -((rows @ exact.T) * errors).sum(dim=1)
    torch.testing.assert_close(influence, expected, rtol=1e-2, atol=float(1e-2 * expected.abs().max()))
