import pytest
import torch
from torch import Tensor

from influence import select_memory, uncertainty


def probs(rows: int = 40) -> Tensor:
    return (3 * torch.randn(rows, 4, generator=torch.Generator().manual_seed(0))).softmax(dim=1)


@pytest.mark.parametrize(("selection", "total"), [("top", 8), ("random", 8), ("weighted", 40)])
def test_rows_are_distinct_and_weights_sum_to_what_they_stand_for(selection: str, total: float) -> None:
    memory = select_memory(probs(), 8, selection, torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    assert len(memory.rows.unique()) == 8
    assert memory.rows.tolist() == sorted(memory.rows.tolist())
    assert float(memory.weights.sum()) == pytest.approx(total)


def test_top_takes_the_most_uncertain() -> None:
    memory = select_memory(probs(), 8, "top")
    values = uncertainty(probs())
    left = torch.ones(40, dtype=torch.bool).index_fill(0, memory.rows, False)
    assert values[memory.rows].min() >= values[left].max()


def test_uncertainty_is_the_trace_of_the_curvature_in_the_logits() -> None:
    logits = torch.randn(4, generator=torch.Generator().manual_seed(0)).double()
    hessian = torch.func.hessian(lambda z: z.logsumexp(dim=0))(logits)
    torch.testing.assert_close(uncertainty(logits.softmax(dim=0)[None])[0], hessian.trace())


def test_the_weighted_memory_estimates_the_sum_without_bias() -> None:
    values = uncertainty(probs())
    generator = torch.Generator().manual_seed(0)
    sums = []
    for _ in range(4000):
        memory = select_memory(probs(), 8, "weighted", generator)
        sums.append((memory.weights * values[memory.rows]).sum())
    estimates = torch.stack(sums)
    standard_error = float(estimates.std()) / 4000**0.5
    assert abs(float(estimates.mean() - values.sum())) < 4 * standard_error


def test_the_generator_decides() -> None:
    first, again, other = (select_memory(probs(), 8, "random", torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(first.rows, again.rows)
    assert not torch.equal(first.rows, other.rows)


@pytest.mark.parametrize("size", [0, 41])
def test_size_out_of_range(size: int) -> None:
    with pytest.raises(ValueError, match=f"expected a memory of 1 to 40 inputs, found {size}"):
        select_memory(probs(), size, "top")


def test_unknown_selection() -> None:
    with pytest.raises(ValueError, match="expected selection top, random, weighted, found 'best'"):
        select_memory(probs(), 5, "best")  # type: ignore[arg-type]
