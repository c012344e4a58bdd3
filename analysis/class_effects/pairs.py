"""Confusion pairs that grow under a strong augmentation, in four categories (Kirichenko et al., 2023).

| category | labels co-occur | similar |
| --- | --- | --- |
| ambiguous | often | yes |
| co-occurring | often | no |
| fine-grained | rarely | yes |
| unrelated | rarely | no |

The thresholds of the paper are not published; those here are arguments. Semantic similarity is read from a file or, by
default, replaced by the class means of a trained network (`class_similarity`), which is a choice of this project.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .metrics import Flags, Floats, Truth

Category = Literal["ambiguous", "co-occurring", "fine-grained", "unrelated"]


@dataclass(frozen=True)
class Pair:
    """Images of one class, `label`, that are taken for another, `prediction`."""

    label: int
    prediction: int
    rate: float  # share of the class at the strongest augmentation, errors alone
    growth: float  # against the best strength of the class
    reverse: float  # growth of the opposite confusion; negative if the bias between the two has moved
    co_occurrence: float | None  # share of images for which both are right answers; None without votes
    similarity: float
    category: Category | None  # None without votes


def co_occurrence(truth: Truth) -> Floats:
    """Return the share of the images of a class for which another is a right answer too, `[K, K]`.

    The mean of the shares in both directions, hence symmetric; the diagonal is 1.
    """
    counted = truth.counted
    own = truth.labels[counted, None] == np.arange(truth.num_classes)
    shares = (own.T.astype(float) @ truth.sets[counted]) / truth.sizes[:, None]
    symmetric: Floats = (shares + shares.T) / 2
    np.fill_diagonal(symmetric, 1)
    return symmetric


def categorize(often: bool, similar: bool) -> Category:
    """Return the category of a pair."""
    if often:
        return "ambiguous" if similar else "co-occurring"
    return "fine-grained" if similar else "unrelated"


def growing_pairs(
    rates: Floats,
    best: list[int],
    similarity: Floats,
    similar_from: float,
    together: Floats | None = None,
    often_from: float = 0.0,
    count: int = 20,
) -> list[Pair]:
    """Return the confusions that grow most.

    Args:
        rates: Error rates `[S, K, K]`, means over the seeds, the strongest augmentation last.
        best: Index of the strength at which each class is best, `[K]`.
        similarity: Of two classes, `[K, K]`.
        similar_from: Similarity from which on two classes are similar.
        together: From `co_occurrence`; None without votes.
        often_from: Share from which on two classes co-occur often.
        count: Number of pairs at most.

    Returns:
        Ordered pairs with growth > 0, the fastest growing first.

    Raises:
        ValueError: If the similarity is not that of these classes.
    """
    if similarity.shape != (len(best), len(best)):
        raise ValueError(
            f"similarity: expected a row and a column for each of {len(best)} classes, found {list(similarity.shape)}."
        )
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
            category=None if often is None else categorize(bool(often[k, l]), bool(similarity[k, l] >= similar_from)),
        )
        for k, l in places  # noqa: E741 - the letters of the paper
        if growth[k, l] > 0
    ]
