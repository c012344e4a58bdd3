"""The command line of the analyses: `python -m analysis NAME ...`."""

from collections.abc import Callable, Mapping

from jsonargparse import auto_cli

from analysis.class_effects.command import class_effects
from analysis.exchange_rate.command import exchange_rate_study
from analysis.landscape.command import landscape
from analysis.moments.command import moments
from lightning_modules.command_line import mistakes_in_one_line, quieten

Analysis = Callable[..., None]

ANALYSES: dict[str, Analysis] = {
    "class_effects": class_effects,
    "exchange_rate": exchange_rate_study,
    "landscape": landscape,
    "moments": moments,
}  # name on the command line -> typed, documented function


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
            prog="python -m analysis",
            description="Say what an augmentation does: numbers and pictures of a finished run, in RUN/analysis.",
        )


if __name__ == "__main__":
    main()
