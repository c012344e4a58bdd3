"""Confusion pairs that grow under a strong augmentation, and why, in four categories (Kirichenko et al., 2023).

| category | labels co-occur | similar |
| --- | --- | --- |
| ambiguous | often | yes |
| co-occurring | often | no |
| fine-grained | rarely | yes |
| unrelated | rarely | no |

The thresholds of the paper are not known; those here are arguments. Similarity of meaning is read from a file or, by
default, stood in for by the class means of a trained network (`Reference.similarity`), which is this project's choice.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .metrics import Flags, Floats, Truth

Category = Literal["ambiguous", "co-occurring", "fine-grained", "unrelated"]


@dataclass(frozen=True)
class Pair:
    """Images of one class that are taken for another.

    Attributes:
        label: Class of the images.
        prediction: Class they are taken for.
        rate: Share of the class at the strongest augmentation, errors alone.
        growth: Against the strength at which the class is best.
        reverse: Growth of the opposite confusion; negative where the bias between the two has moved.
        co_occurrence: How often the two are right answers of one image; None without votes.
        similarity: Of the two classes.
        category: Of the pair; None without votes.
    """

    label: int
    prediction: int
    rate: float
    growth: float
    reverse: float
    co_occurrence: float | None
    similarity: float
    category: Category | None


def co_occurrence(truth: Truth) -> Floats:
    """Share of the images of a class for which another is a right answer too, `[K, K]`.

    The mean of the shares both ways round, so that it is symmetric; the diagonal is 1.
    """
    counted = truth.counted
    own = truth.labels[counted, None] == np.arange(truth.num_classes)
    shares = (own.T.astype(float) @ truth.sets[counted]) / truth.sizes[:, None]
    symmetric: Floats = (shares + shares.T) / 2
    np.fill_diagonal(symmetric, 1)
    return symmetric


def categorise(often: bool, similar: bool) -> Category:
    """The category of a pair."""
    if often:
        return "ambiguous" if similar else "co-occurring"
    return "fine-grained" if similar else "unrelated"


def check_similarity(similarity: Floats, num_classes: int) -> None:
    """Raise ValueError unless there is a row and a column for each class."""
    if similarity.shape != (num_classes, num_classes):
        raise ValueError(
            f"similarity: expected a row and a column for each of {num_classes} classes, found "
            f"{list(similarity.shape)}."
        )


def growing_pairs(
    rates: Floats,
    best: list[int],
    similarity: Floats,
    similar_from: float,
    together: Floats | None = None,
    often_from: float = 0.0,
    count: int = 20,
) -> list[Pair]:
    """The confusions that grow most.

    Args:
        rates: Error rates `[S, K, K]`, means over the seeds, the strongest augmentation last.
        best: Index of the strength at which each class is best, `[K]`.
        similarity: `[K, K]`.
        similar_from: Similarity from which on two classes are similar.
        together: From `co_occurrence`; None without votes.
        often_from: Share from which on two classes co-occur often.
        count: How many at most.

    Returns:
        Ordered pairs with growth > 0, the fastest growing first.

    Raises:
        ValueError: If the similarity is not that of these classes.
    """
    check_similarity(similarity, len(best))
    strong = rates[-1]
    growth = strong - rates[best, np.arange(len(best))]
    np.fill_diagonal(growth, 0)
    order = np.argsort(-growth, axis=None, kind="stable")[:count]
    places = [divmod(int(place), len(best)) for place in order]
    often: Flags | None = None if together is None else together >= often_from
    return [
        Pair(
            label=k,
            prediction=l,
            rate=float(strong[k, l]),
            growth=float(growth[k, l]),
            reverse=float(growth[l, k]),
            co_occurrence=None if together is None else float(together[k, l]),
            similarity=float(similarity[k, l]),
            category=None if often is None else categorise(bool(often[k, l]), bool(similarity[k, l] >= similar_from)),
        )
        for k, l in places  # noqa: E741 - the letters of the paper
        if growth[k, l] > 0
    ]
