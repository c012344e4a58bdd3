"""Points that a classifier is adapted on: past and new images, with a count for each target.

Axes: N past images, A added, R removed, P points.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from influence.k_priors import Memory
from lightning_modules.data.labelled_images import LabelledImages, StoredDataset

Method = Literal["k_prior", "replay", "fine_tune", "retrain"]
PointBatch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Images `[B, C, H, W]`, labels `[B]`, soft counts `[B]`, hard counts `[B]`; see `Plan`."""


class Plan(NamedTuple):
    """Images that a method adapts on, and their counts in the objective; see `influence.k_priors.prior`.

    Attributes:
        rows: `[P]` int64, rows of the images, past and added.
        soft: `[P]`, counts of the loss with the old model's probabilities as target.
        hard: `[P]`, counts of the loss with the label as target, -1 for a removed image.
        decay: Factor on the new weight decay.
        old_decay: Factor on the old weight decay, in the pull towards the old weights; 0 without one.
    """

    rows: Tensor
    soft: Tensor
    hard: Tensor
    decay: float
    old_decay: float

    @property
    def total(self) -> float:
        """Sum of all counts, by which the sum of the losses is divided."""
        return float((self.soft + self.hard).sum())


def make_plan(method: Method, kept: Tensor, removed: Tensor, added: Tensor, memory: Memory) -> Plan:
    """Return the points of a method.

    `k_prior` remembers the memory and all removed images by the old model's probabilities. `replay` trains on the
    memory by its labels, `fine_tune` on the added images alone, `retrain` on everything.

    Args:
        method: The method.
        kept: `[N - R]`, rows of the past images that are kept.
        removed: `[R]`, rows of the past images to forget.
        added: `[A]`, rows of the new images.
        memory: Positions in `kept` with their weights; not used by `fine_tune` and `retrain`.

    Raises:
        ValueError: If the method is unknown, or `fine_tune` has no images.
    """
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, found {method!r}.")
    if method == "fine_tune" and not len(added):
        raise ValueError("method fine_tune trains on added images alone: give change.add, or take another method.")
    parts: list[tuple[Tensor, Tensor | float, Tensor | float]]
    if method == "k_prior":
        parts = [(kept[memory.rows], memory.weights, 0.0), (removed, 1.0, -1.0), (added, 0.0, 1.0)]
    else:
        past = {"replay": kept[memory.rows], "fine_tune": kept[:0], "retrain": kept}[method]
        weights: Tensor | float = memory.weights if method == "replay" else 1.0
        parts = [(past, 0.0, weights), (added, 0.0, 1.0)]
    rows = torch.cat([part[0] for part in parts])
    soft = torch.cat([torch.zeros(len(part[0])) + part[1] for part in parts]).float()
    hard = torch.cat([torch.zeros(len(part[0])) + part[2] for part in parts]).float()
    if method != "k_prior":
        return Plan(rows, soft, hard, 1.0, 0.0)
    past_count, new_count, total = len(kept) + len(removed), len(kept) + len(added), float((soft + hard).sum())
    return Plan(rows, soft, hard, new_count / total, past_count / total)


class Points(StoredDataset[PointBatch]):
    """Batches `(images, labels, soft, hard)` of the points of a plan.

    Args:
        images: The images to which the rows of the plan refer.
        plan: The plan.
    """

    def __init__(self, images: LabelledImages, plan: Plan) -> None:
        self.store, self.images, self.plan = images.store, images, plan

    def __len__(self) -> int:
        return len(self.plan.rows)

    def __getitem__(self, index: int) -> PointBatch:
        images, labels, soft, hard = self.__getitems__([index])
        return images[0], labels[0], soft[0], hard[0]

    def __getitems__(self, indices: Sequence[int]) -> PointBatch:
        chosen = torch.as_tensor(indices)
        images, labels = self.images.__getitems__(self.plan.rows[chosen].tolist())
        return images, labels, self.plan.soft[chosen], self.plan.hard[chosen]
