"""Kind of study `logistic_regression`: K-priors and replay where retraining can be met exactly (docs/method.md)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from influence import Samples, adapt_head, append_bias, refit_head, remember, select_memory
from influence.k_priors import Selection
from studies.engine import Cache, Kind, Result, Setting, TableReport


@dataclass(frozen=True, kw_only=True)
class LogisticRun(Setting):
    """A logistic regression that is adapted to added points which are shifted.

    Args:
        method: `weights` keeps no memory.
        selection: Of the memory.
        percent: Sizes of the memory, in % of the past points.
        past: Number of points before.
        added: Number of points that are added.
        features: Of each point.
        decay: Weight decay of the sum of the losses.
        shift: Of every feature of the added points.
    """

    method: Literal["k_prior", "replay", "weights"]
    selection: Selection = "weighted"
    percent: list[int]
    past: int = 600
    added: int = 60
    features: int = 10
    decay: float = 5.0
    shift: float = 1.0

    def run(self, cache: Cache) -> Result:
        """Fit, adapt with each memory, and compare with fitting all points.

        Returns:
            `errors`: percent -> mean distance to the probabilities of the regression fitted to all points.
        """
        generator = Generator().manual_seed(self.seed)
        slope = torch.randn(self.features, generator=generator, dtype=torch.float64)
        past = _draw(self.past, 0.0, slope, generator)
        added = _draw(self.added, self.shift, slope, generator)
        whole = _joined(past, added)
        head, rows = self._fit(past), append_bias(whole.features)
        target = _probabilities(rows, self._fit(whole))
        memory = _probabilities(append_bias(past.features), head)
        found = {
            str(percent): self._adapt(past, added, head, memory, round(percent / 100 * self.past), generator)
            for percent in self.percent
        }
        return {"errors": {p: float((_probabilities(rows, h) - target).abs().mean()) for p, h in found.items()}}

    def _adapt(
        self, past: Samples, added: Samples, head: Tensor, probs: Tensor, count: int, generator: Generator
    ) -> Tensor:
        """Return the head that is adapted with a memory of `count` points."""
        if self.method == "weights":
            return adapt_head(remember(past.features[:1], head, self.decay, torch.zeros(1)), added=added)
        kept = select_memory(probs, count, self.selection, generator)
        if self.method == "k_prior":
            return adapt_head(remember(past.features[kept.rows], head, self.decay, kept.weights), added=added)
        replayed = _joined(Samples(*(part[kept.rows] for part in past)), added)
        return self._fit(replayed, torch.cat([kept.weights, torch.ones(self.added)]))

    def _fit(self, samples: Samples, weights: Tensor | None = None) -> Tensor:
        """Return the head that minimizes the weighted sum of the losses."""
        return refit_head(samples, 2, weight_decay=self.decay / len(samples.features), weights=weights)


def _draw(count: int, shift: float, slope: Tensor, generator: Generator) -> Samples:
    """Return points whose labels follow a logistic model, moved by `shift` in every feature."""
    features = torch.randn(count, len(slope), generator=generator, dtype=torch.float64) + shift
    chance = (features @ slope).sigmoid()
    return Samples(features, (torch.rand(count, generator=generator, dtype=torch.float64) < chance).long())


def _joined(first: Samples, second: Samples) -> Samples:
    return Samples(*(torch.cat(pair) for pair in zip(first, second, strict=True)))


def _probabilities(rows: Tensor, head: Tensor) -> Tensor:
    return (rows @ head.T).softmax(dim=1)


KIND = Kind(LogisticRun, TableReport)
