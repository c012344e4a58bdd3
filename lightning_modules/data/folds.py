"""Stratified folds of equal size, and the training images of an epoch, without the fold that is held out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_modules.data.iterative_stratification import stratified_parts
from lightning_modules.data.labelled_images import LabelledImages, StoredDataset
from lightning_modules.data.partition import Indices, Labels, class_list

TrainingBatch = tuple[Tensor, Tensor, Tensor]
"""Images `[B, C, H, W]`, labels `[B]` or `[B, K]`, and the number of each image among all that train, `[B]`."""


def equal_folds(labels: Labels, folds: int, class_names: Sequence[str], seed: int) -> Indices:
    """Cut rows into stratified folds of equal size; the counts of a class in two folds differ by at most one.

    With several labels an image they differ by as little as `stratified_parts` finds.

    Args:
        labels: Class of each row, `[N]`, or 0 or 1 for each class, `[N, K]`.
        folds: Number of folds, F, at least 2.
        class_names: Names of the classes, for error messages.
        seed: Seed of the draw.

    Returns:
        Row numbers `[F, N // F]`, in increasing order within a fold. The remainder, fewer than F rows, is in no fold;
        with one label an image it comes from the largest classes.

    Raises:
        ValueError: If a class has fewer rows than there are folds.
    """
    if labels.ndim == 2:
        counts = labels.sum(axis=0).astype(np.int64)
        present, counts = np.flatnonzero(counts), counts[counts > 0]
    else:
        present, counts = np.unique(labels, return_counts=True)
    least = int(counts.min())
    if least < folds:
        remedy = f"lower folds to {least}" if least > 1 else "add images of it, or set influence_source to held_out"
        raise ValueError(
            f"folds={folds}, but of class {class_list(present[counts == least], class_names)} there is only {least} "
            f"to be spread over them, and every fold needs one of every class: {remedy}."
        )
    if labels.ndim == 2:
        size, spare_rows = divmod(len(labels), folds)
        return np.stack(stratified_parts(labels, [size] * folds + [spare_rows], seed)[:folds])
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    ends = counts.cumsum()
    spare = []
    for _ in range(len(labels) % folds):
        largest = counts.argmax()
        counts[largest] -= 1
        ends[largest] -= 1
        spare.append(ends[largest])
    dealt = np.delete(by_class, spare).reshape(-1, folds)
    return np.sort(dealt.T, axis=1)


class TrainingImages(StoredDataset[TrainingBatch]):
    """Images, labels and row numbers of an epoch: all training images without the held-out fold, or a weighted draw.

    The length is the same for every fold. The rows of the epoch lie in shared memory, so that worker processes, which
    keep a copy of the dataset over the epochs, see a change. Change them between two epochs only.

    Args:
        images: All images that train in some epoch, N.
        folds: Row numbers `[F, S]` of images that are held out in turn; `[0, 0]` for none.
        fold: The fold that is held out first.
    """

    def __init__(self, images: LabelledImages, folds: Tensor, fold: int = 0) -> None:
        self.images, self.store = images, images.store
        self._folds, self._fold = folds, fold
        self.of_epoch: Tensor = self._trains().share_memory_()

    def hold_out(self, fold: int) -> None:
        """Hold out the images of a fold; all others train, each once."""
        self._fold = fold
        self.of_epoch.copy_(self._trains())

    def draw(self, weights: Tensor, offset: float) -> None:
        """Draw the images of an epoch by systematic resampling with weights; the held-out fold is left out.

        An image of weight w, for a mean weight of 1 over the images that train, is drawn w times, rounded up or down:
        up for a share of all offsets equal to the fractional part of w. Equal weights draw every image once.

        Args:
            weights: `[N]`, >= 0 and not all 0.
            offset: First sampling point, in (0, 1); the others follow at unit distance.
        """
        rows = self._trains()
        ends = weights.cpu().double()[rows].cumsum(dim=0)
        points = (torch.arange(len(rows), dtype=torch.float64) + offset) * (ends[-1] / len(rows))
        self.of_epoch.copy_(rows[torch.searchsorted(ends, points, right=True).clamp(max=len(rows) - 1)])

    def _trains(self) -> Tensor:
        """Return the row numbers of all images outside of the held-out fold."""
        trains = torch.ones(len(self.images), dtype=torch.bool)
        if len(self._folds):
            trains[self._folds[self._fold]] = False
        return trains.nonzero()[:, 0]

    def rows(self, indices: Sequence[int]) -> Tensor:
        """Return the numbers of the images at the indices among all N, int64 `[B]`."""
        return self.of_epoch[torch.as_tensor(indices, dtype=torch.int64)]

    def __len__(self) -> int:
        return len(self.of_epoch)

    def __getitem__(self, index: int) -> TrainingBatch:
        row = self.rows([index])[0]
        return *self.images[int(row)], row

    def __getitems__(self, indices: Sequence[int]) -> TrainingBatch:
        rows = self.rows(indices)
        return *self.images.__getitems__(rows.tolist()), rows
