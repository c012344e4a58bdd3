"""`python -m analysis`: arguments, help and configuration come from the function; mistakes are one line."""

from pathlib import Path

import pytest

from analysis.__main__ import main

called: list[tuple[Path, int]] = []


def toy(run: Path, count: int = 3) -> None:
    """Count the files of a run.

    Args:
        run: The folder of the run.
        count: How often to count.
    """
    called.append((run, count))
    if count < 0:
        raise ValueError("count must be at least 0, found -1.")
    if not run.exists():
        raise FileNotFoundError(f"there is no run {run}.")


def test_arguments_reach_the_function(tmp_path: Path) -> None:
    called.clear()
    main(["toy", str(tmp_path), "--count=5"], {"toy": toy})
    assert called == [(tmp_path, 5)]


def test_a_configuration_file_gives_them_too(tmp_path: Path) -> None:
    called.clear()
    (tmp_path / "toy.yaml").write_text(f"run: {tmp_path}\ncount: 7\n")
    main(["toy", "--config", str(tmp_path / "toy.yaml")], {"toy": toy})
    assert called == [(tmp_path, 7)]


def test_help_is_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["toy", "--help"], {"toy": toy})
    assert end.value.code == 0
    printed = capsys.readouterr().out
    for words in ("Count the files of a run", "The folder of the run", "How often to count", "default: 3"):
        assert words in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", ".", "--count=-1"], "count must be at least 0, found -1."),
        (["toy", "no/such/run"], "there is no run no/such/run."),
        (["toy", ".", "--count=many"], "many"),
        (["toys", "."], "toys"),
        (["toy"], "run"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments, {"toy": toy})
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "error: " in error
    assert message in error
    assert "Traceback" not in error
