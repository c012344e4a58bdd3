"""The command line of the analyses, `python -m analysis NAME ...`; after installation, of `augfluence.analysis`."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, auto_cli

from lightning_modules.commands.terminal import mistakes_in_one_line, quieten

from . import PROGRAM
from .commands.landscape import landscape
from .commands.moments import moments
from .commands.moved import class_effects, exchange_rate
from .commands.report import report

Analysis = Callable[..., None]

_COMMANDS: list[Analysis] = [class_effects, exchange_rate, landscape, moments, report]
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
    with mistakes_in_one_line():
        auto_cli(
            dict(ANALYSES if analyses is None else analyses),
            args=args,
            parser_class=_Parser,
            prog=PROGRAM,
            description="Analyze augmentations: numbers and pictures of a finished run, in RUN/analysis.",
        )


if __name__ == "__main__":
    main()
