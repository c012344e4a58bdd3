"""A table of words for the terminal, for Markdown and for the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class TextTable:
    """A title, the names of the columns, and cells; the first column names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> Table:
        """Return the table for the terminal."""
        table = Table(title=self.title)
        for index, column in enumerate(self.header):
            table.add_column(column, justify="right" if index else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return title and table in Markdown."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        return f"{self.title}.\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
