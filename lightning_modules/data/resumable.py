"""A shuffling loader that can be resumed in the middle of an epoch, with the same order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler


class Shuffle(RandomSampler):
    """Sampler that draws one permutation an epoch; unlike torch's it draws nothing more at the end of an epoch."""

    def __iter__(self) -> Iterator[int]:
        yield from torch.randperm(self.num_samples, generator=self.generator).tolist()


class ResumableBatches(BatchSampler):
    """Batch sampler that can leave out its first batches once, without reading their images."""

    skip = 0

    def __iter__(self) -> Iterator[list[int]]:
        skip, self.skip = self.skip, 0
        yield from islice(super().__iter__(), skip, None)


@dataclass
class Place:
    """Position of a loader in the data.

    Attributes:
        began: State of the generator of the order at the begin of the epoch; None without a generator.
        given: Batches returned since; 0 between two epochs.
        skip: Batches to leave out of the next epoch, because they were returned before the run was resumed.
    """

    began: Tensor | None = None
    given: int = 0
    skip: int = 0


class ResumableLoader(DataLoader):
    """A shuffling `DataLoader` with a state; Lightning saves it in checkpoints and restores it.

    The state is the state of the generator at the begin of the epoch, and the number of batches returned since: exact
    for checkpoints at the end of a batch and of an epoch. An epoch begins when its first batch is requested, not when
    the iterator is made: Lightning makes the first one long before the first epoch.

    Args:
        dataset: Makes the batches.
        place: Position of the loader. To divide the data among ranks, Lightning makes another loader with the same
            arguments but another sampler: the two share their position.
        **options: See `DataLoader`.
    """

    def __init__(self, dataset: Dataset, *, place: Place | None = None, **options: Any) -> None:
        super().__init__(dataset, **options)
        self.place = place or Place()

    @classmethod
    def shuffling(
        cls, dataset: Dataset, batch_size: int, generator: Generator, drop_last: bool, **options: Any
    ) -> "ResumableLoader":
        """Return a loader that reshuffles by `generator` at the start of each epoch; `options` as for `DataLoader`."""
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
        """Return the position in the data, as tensors and numbers."""
        place = self.place
        return {"order": place.began if place.given else self._order(), "batches": place.given or place.skip}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue, in the next epoch that is started, at the position at which `state_dict` was called."""
        generator = self._generator()
        if generator is not None and state["order"] is not None:
            generator.set_state(state["order"].cpu())
        self.place.given, self.place.skip = 0, state["batches"]

    def _order(self) -> Any:
        generator = self._generator()
        return None if generator is None else generator.get_state()

    def _generator(self) -> Generator | None:
        """Return the generator of the order; None if Lightning has divided the data among ranks, with its own seed."""
        sampler = getattr(self.batch_sampler, "sampler", None)
        return sampler.generator if isinstance(sampler, Shuffle) else None
