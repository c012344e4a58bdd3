"""Estimates of the expected influence of a policy from its moments, compared with its views over strengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .augmentations import Budget, Example, ranges
from .network import Function
from .policy_influence import expected_influence
from .weighted_views import distribution, outputs_of

STRENGTHS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
FAMILIES: dict[str, dict[str, float]] = {
    "rotation": {"rotation": 30.0},
    "translation": {"translate_x": 0.125, "translate_y": 0.125},
    "contrast": {"contrast": 1.0, "exposure": 0.5},
    "blur": {"blur": 0.05},
}
_RANK = 16  # columns of the image's factor
ESTIMATES = ("mean_image", "second_order", "steps")


@torch.no_grad()
def compare_influence(
    influence_of: Callable[[Example], Function],
    examples: Sequence[Example],
    budget: Budget,
    on_example: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Compute the expected influence on one example or more by the views of policies, and by their moments.

    `influence_of` returns the influence as a function of the image, for the target of an example. `on_example` is
    called after each, for a progress bar: `len(FAMILIES) * len(STRENGTHS) * len(examples)` times.

    Returns:
        For each family and strength: the mean over examples of the influence of the image as it is, of all views, of
        each estimate in `ESTIMATES` (the mean image alone; second order; second order by steps of one deviation), and
        the `unexplained` share of each: `||estimate - truth|| / ||truth - as it is||` over examples. Below 1 an
        estimate is better than to leave the augmentation out; the mean image and a perfect estimate have 0.
    """
    rows = []
    for family, bounds in FAMILIES.items():
        for strength in STRENGTHS:
            columns: list[list[float]] = []
            for example in examples:
                function = influence_of(example)
                views = ranges(bounds, strength)(example, budget)
                truth = distribution(outputs_of(function, views), views.weights).mean
                moments = views.moments.compressed(_RANK)
                derivative = expected_influence(function, moments)
                stepped = expected_influence(function, moments, step=1.0)
                as_it_is = float(function(example.images[:1]))
                columns.append([as_it_is, truth, derivative.at_mean, derivative.expected, stepped.expected])
                on_example()
            rows.append({"family": family, "strength": strength, **_compared(torch.tensor(columns).double())})
    return rows


def _compared(columns: torch.Tensor) -> dict[str, Any]:
    """Return means over examples, and the share of the change that each estimate leaves unexplained."""
    as_it_is, truth, *estimates = columns.unbind(1)
    change = float((truth - as_it_is).norm())
    errors = [float((estimate - truth).norm()) / change if change > 0 else None for estimate in estimates]
    return {
        "as_it_is": float(as_it_is.mean()),
        "views": float(truth.mean()),
        **{name: float(estimate.mean()) for name, estimate in zip(ESTIMATES, estimates, strict=True)},
        "unexplained": dict(zip(ESTIMATES, errors, strict=True)),
    }
