"""Scores of all training images, with the label, source and prediction of each image."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from influence.attribution import Attribution
from lightning_modules.data import LabelledImages

RANKINGS = {
    "harmful": ("Most harmful: training on them raises the loss on the influence set", "influence"),
    "helpful": ("Most helpful: training on them lowers the loss on the influence set", "influence"),
    "mislabelled": ("Probably mislabelled: the loss of their label without them", "mislabel"),
}
"""Headline and ranked score of each ranking."""


@dataclass(frozen=True)
class AttributionTable:
    """Scores of the N training images, in the order of the training split, on the CPU.

    Attributes:
        images: The training split.
        class_names: K names.
        predicted: `[N]` int64, prediction of the network.
        loss: `[N]`, cross-entropy of the network in nats.
        margin: `[N]`, logit of the label minus the highest other one; negative for misclassified images.
        scores: Influence, self-influence, mislabel score and suggested label.
    """

    images: LabelledImages
    class_names: tuple[str, ...]
    predicted: Tensor
    loss: Tensor
    margin: Tensor
    scores: Attribution

    @cached_property
    def sources(self) -> Sequence[str]:
        """Origin of each image: its file, or its row in the data before they were split."""
        return self.images.sources()

    def order(self, ranking: str) -> Tensor:
        """Return the indices of the images, `[N]`, in the order of a ranking; ties in the order of the split.

        Args:
            ranking: `harmful` (highest influence), `helpful` (lowest) or `mislabelled` (highest mislabel score).

        Raises:
            ValueError: If there is no such ranking.
        """
        scores = self.scores
        keys = dict(zip(RANKINGS, (-scores.influence, scores.influence, -scores.mislabel), strict=True))
        if ranking not in keys:
            raise ValueError(f"expected a ranking of {', '.join(RANKINGS)}, found {ranking!r}")
        return keys[ranking].argsort(stable=True)

    def row(self, index: int) -> dict[str, int | float | str]:
        """Return labels and scores of an image, by column name; `index` is its position in the split, 0..N-1."""
        label = int(self.images.labels[index])
        return {
            "index": index,
            "source": self.sources[index],
            "label": label,
            "label_name": self.class_names[label],
            "predicted": self.class_names[int(self.predicted[index])],
            "suggested": self.class_names[int(self.scores.suggested[index])],
            "loss": float(self.loss[index]),
            "margin": float(self.margin[index]),
            "influence": float(self.scores.influence[index]),
            "self_influence": float(self.scores.self_influence[index]),
            "mislabel": float(self.scores.mislabel[index]),
        }

    def csv(self) -> str:
        """Return the text of a CSV file: one row an image, in the order of the split; ranks begin at 1."""
        ranks = {ranking: torch.empty(len(self.loss), dtype=torch.int64) for ranking in RANKINGS}
        for ranking, rank in ranks.items():
            rank[self.order(ranking)] = torch.arange(1, len(rank) + 1)
        rows = [
            self.row(index) | {f"{ranking}_rank": int(rank[index]) for ranking, rank in ranks.items()}
            for index in range(len(self.loss))
        ]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
        return text.getvalue()
