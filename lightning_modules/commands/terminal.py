"""Terminal output that all commands share: quiet libraries, errors as one paragraph."""

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lightning_modules.commands.faults import describe_fault

_TRIED = re.compile(r"Does not validate|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>")
_IN_WORDS = {
    r'Parser key "([^"]*)":': r"\1:",
    r"Problem with given class_path '([\w.]*)':": r"\1:",
    r"Expected a <class '(?:\w+\.)*(\w+)'>": r"expected a value of type \1",
    r"Expected a typing\.Literal\[([^]]*)\]": r"expected one of \1",
    r"\.? Got value:": ", found",
}


def quieten() -> None:
    """Silence messages of libraries on which users of a command cannot act; show deprecated settings."""
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric.strategies.launchers").setLevel(logging.INFO)  # which process was lost
    for message in (
        ".*exists and is not empty.*",
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*callbacks used to create the checkpoint.*",  # a run's callbacks have nothing to do in a test
        r".*module\(s\) in eval mode.*",  # `adapt` keeps the old batch statistics
        ".*dirpath has changed.*",  # a resumed run has a folder of its own
        ".*torch.jit.script.*",  # of a dependency
        ".*LightningCLI's args parameter.*",  # a run is opened by a program that has arguments of its own
    ):
        warnings.filterwarnings("ignore", message=message)
    warnings.filterwarnings("default", category=DeprecationWarning, module=r"lightning_modules\.")


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Report a user's mistake, a full disk or a lost process as one paragraph on the terminal, without a traceback.

    Raises:
        SystemExit: With code 2, after a ValueError, FileNotFoundError or Lightning's MisconfigurationException; with
            code 1 after a fault, see `lightning_modules.commands.faults`. If the environment variable
            AUGFLUENCE_TRACEBACK is set, the error itself is raised.
    """
    try:
        yield
    except Exception as error:
        fault = describe_fault(error)
        mistake = isinstance(error, ValueError | FileNotFoundError | MisconfigurationException | ArgumentError)
        if os.environ.get("AUGFLUENCE_TRACEBACK") or not (fault or mistake):
            raise
        message = fault or _message(error)
        print(f"error: {message}\n(AUGFLUENCE_TRACEBACK=1 shows where this was found.)", file=sys.stderr)
        raise SystemExit(1 if fault else 2) from error


def _message(mistake: Exception) -> str:
    """Return the message of an error as one paragraph; that of the parser without the types that it tried."""
    text = str(mistake)
    if isinstance(mistake, ArgumentError) or "Union subtypes" in text:
        lines = [line.strip().removeprefix("- ") for line in text.splitlines()]
        text = " ".join(line for line in lines if line and not _TRIED.match(line))
        for pattern, words in _IN_WORDS.items():
            text = re.sub(pattern, words, text)
        text += " (`--help` after the command lists all settings.)"
    return text
