"""The points that a classifier is adapted on: images of the past and new ones, and what each counts.

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


class Plan(NamedTuple):
    """Which images a method adapts on, and what each counts; see `influence.k_priors.prior`.

    Attributes:
        rows: `[P]` int64, rows of the images, past and added.
        soft: `[P]`, how often the old model's probabilities are the target.
        hard: `[P]`, how often the label is, -1 for a removed image.
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
        """What the points count together: the divisor of their sum."""
        return float((self.soft + self.hard).sum())


def make_plan(method: Method, kept: Tensor, removed: Tensor, added: Tensor, memory: Memory) -> Plan:
    """The points of a method.

    `k_prior` remembers the memory and all removed images by the old model's probabilities. `replay` trains on the
    memory by its labels, `fine_tune` on the added images alone, `retrain` on everything.

    Args:
        method: See above.
        kept: `[N - R]`, rows of the past images that stay.
        removed: `[R]`, rows of those to forget.
        added: `[A]`, rows of the new ones.
        memory: Places in `kept` with their weights; of no effect for `fine_tune` and `retrain`.

    Raises:
        ValueError: If there is no such method, or `fine_tune` has nothing to train on.
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
        images: The images that the plan's rows are of.
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
