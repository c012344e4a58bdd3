from pathlib import Path

import pytest

from lightning_modules.data.rows import read_rows


def test_text(tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("# to forget\n7\n\n 2  # a cat\n")
    assert read_rows(str(file), 10, "rows").tolist() == [2, 7]


def test_csv_of_an_attribution(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("source,index,label\nrow 5,4,1\nrow 9,1,0\n")
    assert read_rows(str(file), 10, "rows").tolist() == [1, 4]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "holds no row numbers"),
        ("a.txt", "1\ntwo\n", "holds something that is no row number"),
        ("a.txt", "1\n10\n", "rows of the training split are 0 to 9, found 1 to 10"),
        ("a.txt", "-1\n", "found -1 to -1"),
        ("a.txt", "1\n1\n", "names a row twice"),
        ("a.txt", "\n".join(map(str, range(10))), "names all 10 rows of the training split"),
        ("a.csv", "row,label\n1,2\n", "has no column 'index', found row, label"),
        ("a.json", "[1]", "ending in .txt or .csv"),
    ],
)
def test_what_is_wrong_is_said(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_rows(str(tmp_path / name), 10, "change.remove")


def test_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"change.remove: there is no file missing.txt"):
        read_rows("missing.txt", 10, "change.remove")
