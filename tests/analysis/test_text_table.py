import io

from rich.console import Console

from analysis.text_table import TextTable

GRID = TextTable("Worth", ["policy", "images"], [["flip_crop+runs/a/long/name/policy.json", "500"], ["none", "1,000"]])


def test_markdown_has_a_line_for_each_row() -> None:
    assert GRID.markdown().splitlines() == [
        "Worth.",
        "",
        "| policy | images |",
        "| --- | ---: |",
        "| flip_crop+runs/a/long/name/policy.json | 500 |",
        "| none | 1,000 |",
    ]


def test_no_name_is_cut_on_a_narrow_terminal() -> None:
    console = Console(width=30, record=True, file=io.StringIO())
    console.print(GRID.rich())
    cells = [line.split("│")[1].strip() for line in console.export_text().splitlines() if line.startswith("│")]
    assert "".join(cells) == "flip_crop+runs/a/long/name/policy.jsonnone"
