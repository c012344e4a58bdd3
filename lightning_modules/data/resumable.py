"""A loader that goes on in the middle of an epoch, with the order that it would have had."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler


class Shuffle(RandomSampler):
    """One permutation for each epoch, and no further draw at its end, as that of torch makes."""

    def __iter__(self) -> Iterator[int]:
        yield from torch.randperm(self.num_samples, generator=self.generator).tolist()


class ResumableBatches(BatchSampler):
    """Batches of row numbers, of which the first few can be left out once, without reading what they point to."""

    skip = 0

    def __iter__(self) -> Iterator[list[int]]:
        skip, self.skip = self.skip, 0
        yield from islice(super().__iter__(), skip, None)


@dataclass
class Place:
    """Where a loader stands in the data.

    Attributes:
        began: How the generator of the order stood when the epoch began; None without one.
        given: Batches handed out since; 0 between two epochs.
        skip: Batches to leave out of the next epoch, as they were handed out before the run was resumed.
    """

    began: Tensor | None = None
    given: int = 0
    skip: int = 0


class ResumableLoader(DataLoader):
    """A shuffling `DataLoader` with a state; Lightning saves it in checkpoints and restores it.

    The state is how the generator of the order stood when the epoch began, and how many batches were handed out since:
    exact wherever a checkpoint is written, at the end of a batch or of an epoch. An epoch begins when its first batch
    is asked for, not when the iterator is made: Lightning makes the first one long before the first epoch.

    Args:
        dataset: Makes the batches.
        place: Where the loader stands. Lightning divides the data among ranks by a loader that it makes of this one,
            with all arguments but the sampler: the two share their place.
        **options: See `DataLoader`.
    """

    def __init__(self, dataset: Dataset, *, place: Place | None = None, **options: Any) -> None:
        super().__init__(dataset, **options)
        self.place = place or Place()

    @classmethod
    def shuffling(
        cls, dataset: Dataset, batch_size: int, generator: Generator, drop_last: bool, **options: Any
    ) -> "ResumableLoader":
        """Reshuffle by `generator` at the start of each epoch; `options` are those of `DataLoader`."""
        sampler = Shuffle(dataset, generator=generator)  # type: ignore[arg-type]
        return cls(
            dataset,
            batch_sampler=ResumableBatches(sampler, batch_size, drop_last),
            generator=Generator(),  # for the seeds of workers, apart from the order
            place=Place(),
            **options,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        place = self.place
        place.began, place.given, place.skip = self._order(), place.skip, 0
        if isinstance(self.batch_sampler, ResumableBatches):
            self.batch_sampler.skip = place.given
        for given, batch in enumerate(super().__iter__(), start=place.given + 1):
            place.given = given % len(self)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The place in the data, as tensors and numbers."""
        place = self.place
        return {"order": place.began if place.given else self._order(), "batches": place.given or place.skip}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on, at the next epoch that is started, where `state_dict` was called."""
        generator = self._generator()
        if generator is not None and state["order"] is not None:
            generator.set_state(state["order"].cpu())
        self.place.given, self.place.skip = 0, state["batches"]

    def _order(self) -> Any:
        generator = self._generator()
        return None if generator is None else generator.get_state()

    def _generator(self) -> Generator | None:
        """That of the order; None where Lightning has divided the data among ranks, by a seed of its own."""
        sampler = getattr(self.batch_sampler, "sampler", None)
        return sampler.generator if isinstance(sampler, Shuffle) else None
