from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from influence import FeatureBank

Batch = tuple[Tensor, Tensor, Tensor]


def batches(sizes: list[int]) -> list[Batch]:
    """Rows numbered through, so that each can be told from all others."""
    number, made = 0, []
    for size in sizes:
        rows = torch.arange(number, number + size)
        number += size
        made.append((rows[:, None] * torch.ones(1, 2), rows[:, None] - torch.ones(1, 3), rows % 3))
    return made


def numbers(bank: FeatureBank) -> list[int]:
    return [] if len(bank) == 0 else bank.rows().features[:, 0].int().tolist()


SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(capacity=st.integers(1, 12), sizes=SIZES)
def test_the_bank_is_a_queue_of_the_newest_rows(capacity: int, sizes: list[int]) -> None:
    bank, model = FeatureBank(capacity), deque[int](maxlen=capacity)
    for features, logits, targets in batches(sizes):
        bank.add(features, logits, targets)
        model.extend(features[:, 0].int().tolist())
        assert numbers(bank) == list(model)
        assert len(bank) == len(model) <= capacity
    if model:
        rows = bank.rows()
        assert torch.equal(rows.logits[:, 0], rows.features[:, 0] - 1)
        assert torch.equal(rows.targets.argmax(dim=1), rows.features[:, 0].long() % 3)


@settings(max_examples=40, deadline=None)
@given(capacity=st.integers(1, 12), other=st.integers(1, 12), sizes=SIZES, more=SIZES)
def test_a_restored_bank_continues_alike(capacity: int, other: int, sizes: list[int], more: list[int]) -> None:
    bank, restored = FeatureBank(capacity), FeatureBank(other)
    restored.add(*batches([3])[0])  # is forgotten
    made = batches(sizes + more)
    for batch in made[: len(sizes)]:
        bank.add(*batch)
    restored.load_state_dict(bank.state_dict())
    assert numbers(restored) == numbers(bank)[-other:]
    for batch in made[len(sizes) :]:
        bank.add(*batch)
        restored.add(*batch)
    kept = min(capacity, other)
    assert numbers(restored)[-kept:] == numbers(bank)[-kept:]


def test_memory_is_bounded_and_rows_are_copies_without_graph() -> None:
    bank = FeatureBank(4)
    features = torch.ones(3, 2, requires_grad=True)
    bank.add(features, torch.zeros(3, 3), torch.zeros(3, dtype=torch.int64))
    rows = bank.rows()
    assert not rows.features.requires_grad
    rows.features.zero_()
    assert bank.rows().features.sum() == 6
    assert bank._storage is not None
    before = bank._storage.features.data_ptr()
    for batch in batches([50, 50]):
        bank.add(*batch)
    assert bank._storage.features.data_ptr() == before
    assert bank._storage.features.shape == (4, 2)


def test_labels_and_probabilities_mix() -> None:
    bank = FeatureBank(4)
    bank.add(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([1]))
    bank.add(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([[0.25, 0.75]]))
    assert bank.rows().targets.tolist() == [[0.0, 1.0], [0.25, 0.75]]


def test_the_state_survives_a_file(tmp_path: object) -> None:
    bank, restored = FeatureBank(5), FeatureBank(5)
    bank.add(*batches([3])[0])
    torch.save(bank.state_dict(), f"{tmp_path}/bank.pt")
    restored.load_state_dict(torch.load(f"{tmp_path}/bank.pt", weights_only=True))
    assert numbers(restored) == [0, 1, 2]


def test_bad_batches_leave_the_bank_as_it_was() -> None:
    bank = FeatureBank(5)
    features, logits, targets = batches([3])[0]
    bank.add(features, logits, targets)
    with pytest.raises(ValueError, match=r"expected features of shape \[2\], found \[4\]; use a new bank"):
        bank.add(torch.ones(3, 4), logits, targets)
    with pytest.raises(ValueError, match="finite features and logits"):
        bank.add(features * float("nan"), logits, targets)
    with pytest.raises(ValueError, match=r"labels in \[0, 3\)"):
        bank.add(features, logits, targets + 3)
    assert numbers(bank) == [0, 1, 2]


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 4), (torch.float32, 4), (torch.float64, 8)])
def test_memory_is_that_of_the_capacity_however_many_rows_come(dtype: torch.dtype, size: int) -> None:
    bank = FeatureBank(capacity=50)
    expected = 50 * (6 + 2 * 4) * size  # bytes
    for rows in (1, 30, 200, 7):
        bank.add(
            torch.ones(rows, 6, dtype=dtype), torch.zeros(rows, 4, dtype=dtype), torch.zeros(rows, dtype=torch.long)
        )
        assert bank._storage is not None
        assert sum(part.untyped_storage().nbytes() for part in bank._storage) == expected
    assert sum(part.untyped_storage().nbytes() for part in bank.rows()) == expected
