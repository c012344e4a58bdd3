"""Rows that an analysis looks at come from the whole split, whose order may be that of its classes."""

from collections import Counter

import pytest

from analysis.sampling import draw_rows


@pytest.mark.parametrize(("size", "count"), [(10, 4), (10, 10), (10, 99), (1, 1), (5, 0)])
def test_rows_are_there_and_none_comes_twice(size: int, count: int) -> None:
    rows = draw_rows(size, count, seed=0)
    assert len(rows) == len(set(rows)) == min(size, count)
    assert set(rows) <= set(range(size))


def test_a_seed_gives_the_same_rows_and_another_one_others() -> None:
    assert draw_rows(1000, 20, seed=3) == draw_rows(1000, 20, seed=3) != draw_rows(1000, 20, seed=4)
    assert set(draw_rows(1000, 20, seed=3)) < set(draw_rows(1000, 50, seed=3))


def test_every_class_of_a_sorted_split_is_drawn_about_as_often() -> None:
    labels = [row // 1000 for row in range(10_000)]
    drawn = Counter(labels[row] for row in draw_rows(10_000, 2000, seed=0))
    assert set(drawn) == set(range(10))
    assert all(150 < count < 250 for count in drawn.values())  # 200 expected, deviation 12
