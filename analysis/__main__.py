"""The command line of the analyses, `python -m analysis NAME ...`; after installation, of `augfluence.analysis`."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, auto_cli

from lightning_modules.commands.terminal import mistakes_in_one_line, quieten

from . import PROGRAM
from .commands.landscape import landscape
from .commands.moments import moments
from .commands.report import report

_STUDIES = ("class_effects", "exchange_rate")  # commands of version 0.1.0 that train, and moved to `python -m studies`

Analysis = Callable[..., None]

_COMMANDS: list[Analysis] = [landscape, moments, report]
ANALYSES = {command.__name__: command for command in _COMMANDS}  # name on the command line -> documented function


class _Parser(ArgumentParser):
    """Parser that takes `runs` as separate words, where jsonargparse expects a list in brackets."""

    def add_function_arguments(self, function: Callable, *args: Any, **kwargs: Any) -> list[str]:
        if "runs" not in inspect.signature(function).parameters:
            return super().add_function_arguments(function, *args, **kwargs)
        self.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="Folders of runs, runs/NAME.")
        return ["runs", *super().add_function_arguments(function, *args, **{**kwargs, "skip": {"runs"}})]


def main(args: list[str] | None = None, analyses: Mapping[str, Analysis] | None = None) -> None:
    """Run one analysis; a user's mistake becomes one line on the terminal instead of a traceback.

    Its arguments (by default those of the process), their types and `--help` are those of its function, by default one
    of `ANALYSES`. `--config FILE` reads them from a YAML file.

    Raises:
        SystemExit: With code 2 if an argument is invalid, or the input is missing or damaged.
    """
    quieten()
    given = sys.argv[1:] if args is None else args
    with mistakes_in_one_line():
        if given[:1] and given[0] in _STUDIES:
            _run_study(given)
            return
        auto_cli(
            dict(ANALYSES if analyses is None else analyses),
            args=args,
            parser_class=_Parser,
            prog=PROGRAM,
            description="Analyze augmentations: numbers and pictures of a finished run, in RUN/analysis.",
        )


def _run_study(args: list[str]) -> None:
    """Run a command that moved to the studies in a process of its own; end with its exit code if it fails."""
    if find_spec("studies") is None:
        raise ValueError(
            f"{args[0]} trains classifiers: run `python -m studies {args[0]}` in a clone of the repository."
        )
    code = subprocess.run([sys.executable, "-m", "studies.former_commands", *args], check=False).returncode
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
