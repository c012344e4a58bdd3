"""Folds of equal size, one of which is held out at a time, and the training images without it."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_modules.data.labelled_images import LabelledImages, StoredDataset
from lightning_modules.data.splits import Indices, class_list

TrainingBatch = tuple[Tensor, Tensor, Tensor]
"""Images `[B, C, H, W]`, labels `[B]`, and the number of each image among all that train, `[B]`."""


def equal_folds(labels: Indices, folds: int, class_names: Sequence[str], seed: int) -> Indices:
    """Cut rows into stratified folds of one size: of each class two folds hold the same number, or one more.

    Args:
        labels: Class of each row, `[N]`.
        folds: Number of folds, F, at least 2.
        class_names: Names of the classes, for error messages.
        seed: Seed of the draw.

    Returns:
        Row numbers `[F, N // F]`, in increasing order within a fold. The remainder, fewer than F rows, comes from the
        largest classes and is in no fold.

    Raises:
        ValueError: If a class has fewer rows than there are folds.
    """
    present, counts = np.unique(labels, return_counts=True)
    least = int(counts.min())
    if least < folds:
        remedy = f"lower folds to {least}" if least > 1 else "add images of it, or set influence_set to held_out"
        raise ValueError(
            f"folds={folds}, but of class {class_list(present[counts == least], class_names)} there is only {least} "
            f"to be spread over them, and every fold needs one of every class: {remedy}."
        )
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
    """Images, labels and row numbers of an epoch: all training images but for the fold that is held out, or a draw.

    Its length is the same whichever fold that is. The rows of the epoch lie in shared memory, so that worker processes,
    which keep a copy of the dataset from epoch to epoch, see them change. Change them between two epochs only.

    Args:
        images: All images that train at some time, N.
        folds: Row numbers `[F, S]` of images that are held out in turn; `[0, 0]` for none.
        fold: The fold that is held out first.
    """

    def __init__(self, images: LabelledImages, folds: Tensor, fold: int = 0) -> None:
        self.images, self.store = images, images.store
        self._folds, self._fold = folds, fold
        self.of_epoch: Tensor = self._trains().share_memory_()

    def hold_out(self, fold: int) -> None:
        """Let the images of one fold sit out, and those of all others train, each once."""
        self._fold = fold
        self.of_epoch.copy_(self._trains())

    def draw(self, weights: Tensor, offset: float) -> None:
        """Let the images train as often as their weights say, by systematic resampling; the fold sits out.

        An image of weight w, with a mean weight of 1 over the images that train, is there w times, rounded up or down:
        up for a share of all offsets that is the fraction of w. Equal weights take every image once.

        Args:
            weights: `[N]`, >= 0 and not all 0.
            offset: Where the ruler begins, in (0, 1).
        """
        rows = self._trains()
        ends = weights.cpu().double()[rows].cumsum(dim=0)
        ruler = (torch.arange(len(rows), dtype=torch.float64) + offset) * (ends[-1] / len(rows))
        self.of_epoch.copy_(rows[torch.searchsorted(ends, ruler, right=True).clamp(max=len(rows) - 1)])

    def _trains(self) -> Tensor:
        trains = torch.ones(len(self.images), dtype=torch.bool)
        if len(self._folds):
            trains[self._folds[self._fold]] = False
        return trains.nonzero()[:, 0]

    def rows(self, indices: Sequence[int]) -> Tensor:
        """Numbers of the images at the indices among all N, `[B]` int64."""
        return self.of_epoch[torch.as_tensor(indices, dtype=torch.int64)]

    def __len__(self) -> int:
        return len(self.of_epoch)

    def __getitem__(self, index: int) -> TrainingBatch:
        row = self.rows([index])[0]
        return *self.images[int(row)], row

    def __getitems__(self, indices: Sequence[int]) -> TrainingBatch:
        rows = self.rows(indices)
        return *self.images.__getitems__(rows.tolist()), rows
