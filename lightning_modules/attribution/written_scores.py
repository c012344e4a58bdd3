"""Files and printed tables of an attribution."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from augnet.atomic_file import write_atomically
from lightning_modules.attribution.contact_sheet import contact_sheet
from lightning_modules.attribution.score_table import RANKINGS, AttributionTable
from lightning_modules.monitoring.plots import save_figure

_PRINTED = 8  # images of each ranking on the terminal


def write_attribution(table: AttributionTable, folder: Path, top: int) -> list[Path]:
    """Write `attribution.csv`, `harmful.png`, `helpful.png` and `mislabelled.png`.

    Args:
        table: The scores.
        folder: Folder of the files; made if needed. Files of an earlier attribution are replaced.
        top: Images on each contact sheet.

    Returns:
        The files.

    Raises:
        OSError: If the folder cannot be written.
    """
    paths = [folder / "attribution.csv", *(folder / f"{ranking}.png" for ranking in RANKINGS)]
    write_atomically(paths[0], table.csv())
    for ranking, path in zip(RANKINGS, paths[1:], strict=True):
        save_figure(contact_sheet(table, ranking, top), path)
    return paths


def print_attribution(table: AttributionTable, top: int) -> None:
    """Print the first images of each ranking.

    Args:
        table: The scores.
        top: Images of each ranking; at most eight are printed.
    """
    for ranking, (headline, column) in RANKINGS.items():
        screen = Table(title=headline, title_justify="left")
        for name in ("index", "source", "label", "predicted", "suggested", column):
            screen.add_column(name, justify="right" if name in ("index", column) else "left")
        for index in table.order(ranking)[: min(top, _PRINTED)].tolist():
            row = table.row(index)
            screen.add_row(
                *(str(row[name]) for name in ("index", "source", "label_name", "predicted", "suggested")),
                f"{row[column]:.3g}",
            )
        Console().print(screen)
