"""The helper that runs many cases in one test."""

import pytest
from sweeps import sweep


def test_a_sweep_runs_all_cases_and_notes_the_one_that_fails() -> None:
    seen: list[tuple[int, str]] = []

    @sweep("number", [1, 2, 3])
    @sweep(("letter", "accepted"), [("a", True), ("b", False)])
    def body(number: int, letter: str, accepted: bool) -> None:
        seen.append((number, letter))
        assert accepted or number < 2

    with pytest.raises(AssertionError) as raised:
        body()
    assert seen == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    assert raised.value.__notes__ == ["letter, accepted: ('b', False)", "number: 2"]


@sweep("number", [1, 2, 3, 4], by=lambda number: "even" if number % 2 == 0 else "odd")
def test_groups_are_tests_of_their_own(number: int, request: pytest.FixtureRequest) -> None:
    assert request.node.name.endswith("[even]" if number in (2, 4) else "[odd]")
