"""Flatness: the distance along random directions at which the unaugmented training loss reaches a threshold.

Geiping et al., 2023, measure the mean filter-normalized distance to a loss of 1.0; larger is flatter. Their code walks
in steps of 0.1 and differs in four points, changed here: it scales each tensor instead of each filter, takes a single
direction, counts one step too many, and gives a model that lies above the threshold already one step instead of 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .directions import Tensors, filter_direction, total_norm

_HALVINGS = 12  # of the last step: its end is known to 1 / 4096 of a step


@dataclass(frozen=True)
class Walk:
    """The loss along one direction, in units of the norms of the filters (1 is the norm of the weights)."""

    distance: float  # first place at which the loss reaches the threshold; infinite if the longest walk does not
    steps: list[float]  # the places of the walk, the start first
    losses: list[float]  # at each of them


def walk(loss_at: Callable[[float], float], threshold: float, step: float, longest: float) -> Walk:
    """Walk in equal steps until the loss reaches the threshold, then halve the last step.

    Losses that are not finite count as above the threshold.
    """

    def below(loss: float) -> bool:
        return loss < threshold  # false for NaN

    places, losses = [0.0], [loss_at(0.0)]
    if not below(losses[0]):
        return Walk(0.0, places, losses)
    for count in range(1, math.floor(longest / step + 1e-9) + 1):
        places.append(count * step)
        losses.append(loss_at(count * step))
        if not below(losses[-1]):
            return Walk(_halve(loss_at, below, places[-2], places[-1]), places, losses)
    return Walk(math.inf, places, losses)


def random_walks(
    loss: Callable[[Tensors], float],
    weights: Tensors,
    directions: int = 10,
    threshold: float = 1.0,
    step: float = 0.1,
    longest: float = 5.0,
    seed: int = 0,
    report: Callable[[], None] = lambda: None,
) -> list[Walk]:
    """Walk from weights of two or more axes, which are not changed, along random filter-normalized directions.

    The loss is a function of the weights by name, in evaluation mode; everything else is fixed. A walk ends at the
    threshold, > 0. Lengths of a step, > 0, and of the longest walk are in units of the norms of the filters. `report`
    is called after each direction.

    Raises:
        ValueError: If an argument is out of range.
    """
    if directions < 1:
        raise ValueError(f"directions must be at least 1, found {directions}; 10 is usual.")
    if not (threshold > 0 and 0 < step <= longest < math.inf):
        raise ValueError(f"expected threshold > 0 and 0 < step <= longest, found {threshold}, {step} and {longest}.")
    generator = torch.Generator().manual_seed(seed)
    walks = []
    for _ in range(directions):
        direction = filter_direction(weights, generator)

        def loss_at(distance: float, direction: Tensors = direction) -> float:
            return loss({name: weight + distance * direction[name] for name, weight in weights.items()})

        walks.append(walk(loss_at, threshold, step, longest))
        report()
    return walks


def flatness(walks: list[Walk], weights: Tensors) -> dict[str, float]:
    """Summarize walks as the flatness of the minimum.

    Returns:
        `distance`: the mean over the directions, in units of the norms of the filters, so that it does not see how
        large weights in front of a normalization are; infinite if one walk never reached the threshold. `deviation`:
        the standard deviation over the directions. `euclidean`: the mean times the norm of the weights, the unit of
        the paper's code.
    """
    distances = torch.tensor([walk.distance for walk in walks], dtype=torch.float64)
    mean = float(distances.mean())
    deviation = float(distances.std()) if len(walks) > 1 and math.isfinite(mean) else math.nan
    return {"distance": mean, "deviation": deviation, "euclidean": mean * total_norm(weights)}


def _halve(loss_at: Callable[[float], float], below: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if below(loss_at(middle)):
            low = middle
        else:
            high = middle
    return (low + high) / 2
