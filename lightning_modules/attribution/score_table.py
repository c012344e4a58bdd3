"""The scores of all training images with what is known of each image: its label, its source, the prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from influence.attribution import Attribution
from lightning_modules.data import LabelledImages

RANKINGS = ("harmful", "helpful", "mislabelled")


@dataclass(frozen=True)
class AttributionTable:
    """Scores of the N training images, in the order of the training split, on the CPU.

    Attributes:
        images: The training split.
        class_names: K names.
        predicted: `[N]` int64, the network's prediction.
        loss: `[N]`, the network's cross-entropy.
        margin: `[N]`, logit of the label minus the highest of the others; negative is misclassified.
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
        """Where each image comes from: its file, or its row in the data before they were split."""
        return self.images.sources()

    def order(self, ranking: str) -> Tensor:
        """Indices of the images, `[N]`, from the first of the ranking to the last; ties in the order of the split.

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
        """Everything that is known of one image, by column name.

        Args:
            index: Its place in the training split, 0..N-1.
        """
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
