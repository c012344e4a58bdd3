"""What every command of the project does alike: few words from libraries, a user's mistake in one line, a bar."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_fabric.utilities.exceptions import MisconfigurationException
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def quieten() -> None:
    """Leave out what libraries say that no user of a command can act on."""
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    for message in (
        ".*exists and is not empty.*",
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*callbacks used to create the checkpoint.*",  # a run's callbacks have nothing to do in a test
        ".*dirpath has changed.*",  # a resumed run has a folder of its own
        ".*LightningCLI's args parameter.*",  # a run is opened by a program that has arguments of its own
    ):
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Turn a user's mistake inside into one line on the terminal and exit code 2, instead of a traceback.

    Raises:
        SystemExit: With code 2, after a ValueError, FileNotFoundError or Lightning's MisconfigurationException; these
            themselves pass where the environment variable AUGFLUENCE_TRACEBACK is set.
    """
    try:
        yield
    except (ValueError, FileNotFoundError, MisconfigurationException) as mistake:
        if os.environ.get("AUGFLUENCE_TRACEBACK"):
            raise
        print(
            f"error: {_what_is_wrong(mistake)}\n(AUGFLUENCE_TRACEBACK=1 shows where this was found.)", file=sys.stderr
        )
        raise SystemExit(2) from mistake


def progress_bar(show: bool = True) -> Progress:
    """A bar with the count and the time that is left; `show` false prints nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not show)


def _what_is_wrong(mistake: Exception) -> str:
    """The message of a mistake, without the list of types that jsonargparse tried before it."""
    lines = [line.strip().removeprefix("- ") for line in str(mistake).splitlines() if line.strip().startswith("- ")]
    reasons = [line for line in lines if not line.startswith("Expected a <class")]
    return " ".join(reasons) if reasons and "Union subtypes" in str(mistake) else str(mistake)
