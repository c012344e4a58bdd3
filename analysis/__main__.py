"""The command line of the analyses: `python -m analysis NAME ...`."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, auto_cli

from lightning_modules.commands.command_line import mistakes_in_one_line, quieten

from .class_effects.command import class_effects
from .exchange_rate.command import exchange_rate_study
from .landscape.command import landscape
from .moments.command import moments
from .report.command import report

Analysis = Callable[..., None]

ANALYSES: dict[str, Analysis] = {
    "class_effects": class_effects,
    "exchange_rate": exchange_rate_study,
    "landscape": landscape,
    "moments": moments,
    "report": report,
}  # name on the command line -> typed, documented function


class _Parser(ArgumentParser):
    """Takes `runs` as words beside each other, where jsonargparse wants a list in brackets."""

    def add_function_arguments(self, function: Callable, *args: Any, **kwargs: Any) -> list[str]:
        if "runs" not in inspect.signature(function).parameters:
            return super().add_function_arguments(function, *args, **kwargs)
        self.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="Folders of runs, runs/NAME.")
        return ["runs", *super().add_function_arguments(function, *args, **{**kwargs, "skip": {"runs"}})]


def main(args: list[str] | None = None, analyses: Mapping[str, Analysis] | None = None) -> None:
    """Run one analysis; a user's mistake becomes one line on the terminal instead of a traceback.

    Its arguments, their types and `--help` are those of its function. `--config FILE` reads them from a YAML file.

    Args:
        args: Arguments as a list, instead of those of the process.
        analyses: What there is to run, by name; by default `ANALYSES`.

    Raises:
        SystemExit: With code 2 if an argument makes no sense or what is to be analysed is missing or broken.
    """
    quieten()
    with mistakes_in_one_line():
        auto_cli(
            dict(ANALYSES if analyses is None else analyses),
            args=args,
            parser_class=_Parser,
            prog="python -m analysis",
            description="Say what an augmentation does: numbers and pictures of a finished run, in RUN/analysis.",
        )


if __name__ == "__main__":
    main()
