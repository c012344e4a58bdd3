"""Ring buffer of the last layer's inputs and outputs in recent training batches.

The Hessian needs 1,000 to 4,000 rows, more than a batch has. The logits are those of the time at which a row was
added; recompute them from the features if the head has changed much since.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from influence.checks import check_finite, check_rows
from influence.losses import CrossEntropy, Loss


class Rows(NamedTuple):
    """Rows of the last layer: `features [N, D]`, `logits [N, K]`, `targets [N, ...]` as the loss keeps them."""

    features: Tensor
    logits: Tensor
    targets: Tensor


class FeatureBank:
    """Ring buffer of the newest rows, on the device of the newest batch.

    Memory is allocated once, at the first batch: `capacity (D + 2 K) b` bytes for features, logits and probabilities as
    targets, with `b` = 4 in float32 and 8 in float64 (4096 rows, D = 512, K = 100: 12 MB). `rows()` and `state_dict()`
    return copies.

    Args:
        capacity: Most rows to keep, >= 1.
        loss: Whose targets are kept, see `influence.losses.Loss.expand`.

    Raises:
        ValueError: If `capacity` is below 1.

    Example:
        >>> bank = FeatureBank(capacity=3)
        >>> bank.add(torch.ones(5, 2), torch.zeros(5, 2), torch.tensor([0, 0, 1, 1, 1]))
        >>> len(bank), bank.rows().targets[:, 1].tolist()
        (3, [1.0, 1.0, 1.0])
    """

    def __init__(self, capacity: int, loss: Loss = CrossEntropy()) -> None:  # noqa: B008 - frozen
        if capacity < 1:
            raise ValueError(f"expected capacity >= 1, found {capacity}; 1,000 to 4,000 rows are usual")
        self.capacity, self.loss = capacity, loss
        self._storage: Rows | None = None
        self._next = 0  # where the next row goes
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @torch.no_grad()
    def add(self, features: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Append a batch; once the bank is full, it overwrites the oldest rows.

        Args:
            features: `[B, D]`; detached.
            logits: `[B, K]`; detached.
            targets: As the loss takes them, for cross-entropy `[B]` int64 or `[B, K]` probabilities.

        Raises:
            TypeError: If labels are not int64 or features and logits are not floating point.
            ValueError: If shapes do not match the batch or the bank, targets are invalid, or a value is not finite.
        """
        features, logits = check_rows(features, logits)
        check_finite("features and logits", features, logits)
        batch = Rows(features, logits, self.loss.expand(targets, logits))
        storage = self._prepared(batch)
        rows = min(len(features), self.capacity)
        slots = (self._next + torch.arange(rows, device=features.device)) % self.capacity
        for kept, new in zip(storage, batch, strict=True):
            kept[slots] = new[len(new) - rows :].to(kept.dtype)
        self._next = (self._next + rows) % self.capacity
        self._count = min(self._count + rows, self.capacity)

    def rows(self) -> Rows:
        """Return a copy of the kept rows, oldest first.

        Raises:
            ValueError: If the bank is empty.
        """
        if self._storage is None:
            raise ValueError("expected a bank with rows, found an empty one; call add first")
        device = self._storage.features.device
        slots = (self._next - self._count + torch.arange(self._count, device=device)) % self.capacity
        return Rows(*(kept[slots] for kept in self._storage))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the kept rows, oldest first; an empty dictionary for an empty bank."""
        return {} if self._storage is None else self.rows()._asdict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replace the contents by the newest `capacity` rows of a saved state.

        Raises:
            ValueError: If the state does not hold features, logits and targets.
        """
        if state and set(state) != set(Rows._fields):
            raise ValueError(f"expected the state of a FeatureBank, found keys {sorted(state)}; use state_dict()")
        self._storage, self._next, self._count = None, 0, 0
        if state:
            self.add(**state)

    def _prepared(self, batch: Rows) -> Rows:
        """Return the storage, allocated with the widths of `batch` at first and moved to its device."""
        if self._storage is None:
            self._storage = Rows(*(part.new_zeros(self.capacity, *part.shape[1:]) for part in batch))
        for name, kept, new in zip(Rows._fields, self._storage, batch, strict=True):
            if kept.shape[1:] != new.shape[1:]:
                raise ValueError(
                    f"expected {name} of shape {list(kept.shape[1:])}, found {list(new.shape[1:])}; use a new bank for "
                    "another layer or another form of targets"
                )
        self._storage = Rows(*(kept.to(batch.features.device) for kept in self._storage))
        return self._storage
