"""What every command of the project does alike: few words from libraries, a user's mistake in one line, a bar."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_fabric.utilities.exceptions import MisconfigurationException
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightning_modules.commands.faults import describe_fault


def quieten() -> None:
    """Leave out what libraries say that no user of a command can act on."""
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric.strategies.launchers").setLevel(logging.INFO)  # which process was lost
    for message in (
        ".*exists and is not empty.*",
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*callbacks used to create the checkpoint.*",  # a run's callbacks have nothing to do in a test
        ".*dirpath has changed.*",  # a resumed run has a folder of its own
        ".*torch.jit.script.*",  # of a dependency
        ".*LightningCLI's args parameter.*",  # a run is opened by a program that has arguments of its own
    ):
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Turn a user's mistake, a full disk or a lost process into one paragraph on the terminal, instead of a traceback.

    Raises:
        SystemExit: With code 2, after a ValueError, FileNotFoundError or Lightning's MisconfigurationException; with
            code 1 after a fault, see `lightning_modules.commands.faults`. The errors themselves pass where the
            environment variable AUGFLUENCE_TRACEBACK is set.
    """
    try:
        yield
    except Exception as error:
        fault = describe_fault(error)
        mistake = isinstance(error, ValueError | FileNotFoundError | MisconfigurationException)
        if os.environ.get("AUGFLUENCE_TRACEBACK") or not (fault or mistake):
            raise
        message = fault or _what_is_wrong(error)
        print(f"error: {message}\n(AUGFLUENCE_TRACEBACK=1 shows where this was found.)", file=sys.stderr)
        raise SystemExit(1 if fault else 2) from error


def progress_bar(show: bool = True) -> Progress:
    """A bar with the count and the time that is left; `show` false prints nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not show)


def _what_is_wrong(mistake: Exception) -> str:
    """The message of a mistake, without the list of types that jsonargparse tried before it."""
    lines = [line.strip().removeprefix("- ") for line in str(mistake).splitlines() if line.strip().startswith("- ")]
    reasons = [line for line in lines if not line.startswith("Expected a <class")]
    return " ".join(reasons) if reasons and "Union subtypes" in str(mistake) else str(mistake)
