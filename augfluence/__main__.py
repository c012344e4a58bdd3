"""The command line: `augfluence COMMAND ...`, or `python -m augfluence COMMAND ...`."""

import difflib
import importlib
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from augfluence.early_errors import find_mistake

PREPARING = {
    "create": "write a commented configuration for a folder of images",
}
TRAINING = {
    "fit": "train a classifier and its augmentation policy",
    "validate": "read the validation split with a trained model",
    "test": "read the test split with a trained model",
    "predict": "write the class probabilities of images",
    "retrain": "train a fresh classifier behind a learned policy, on everything",
    "attribute": "score training images: harmful, helpful, probably mislabeled",
    "adapt": "adapt a trained classifier without retraining",
}
ANALYSES = {
    "report": "one page about one or several runs",
    "moments": "draws that an augmentation needs; its expected loss and influence",
    "landscape": "flatness and gradient noise of a trained classifier",
}


_EXTRAS = {"datasets": "data", "jinja2": "report", "markupsafe": "report", "scipy": "report"}
"""Extra of the distribution that brings a package."""


def main() -> None:
    """Run the command that the arguments of the process name; what is wrong with it is said before libraries load."""
    try:
        _run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        text = f"error: this needs the package {package}: pip install 'augfluence[{_EXTRAS[package]}]'."
        print(text, file=sys.stderr)
        sys.exit(2)


def _run() -> None:
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load ends it without a traceback
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return
    command = arguments[0]
    known = [*PREPARING, *TRAINING, *ANALYSES]
    if command not in known and not command.startswith("-"):
        close = difflib.get_close_matches(command, known, n=1)
        guess = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(known)}."
        print(f"error: unknown command {command!r}. {guess}", file=sys.stderr)
        sys.exit(2)
    if command in PREPARING:
        importlib.import_module(f"lightning_modules.commands.{command}").main(arguments[1:])
        return
    if command in ANALYSES:
        installed = find_spec("augfluence.analysis") is not None  # in a clone it lies beside this package
        importlib.import_module("augfluence.analysis.__main__" if installed else "analysis.__main__").main()
        return
    sys.argv[1:] = with_config_paths(arguments)
    if command in TRAINING and (mistake := find_mistake(command, sys.argv[2:], _configurations())) is not None:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
    from lightning_modules.commands.cli import main as run

    run()


def config_folder() -> Path:
    """The folder of the configurations that come with the package, or with the clone."""
    folder = Path(__file__).parent / "configs"
    return folder if folder.is_dir() else Path(__file__).parents[1] / "configs"


def with_config_paths(arguments: list[str]) -> list[str]:
    """Arguments in which `--config NAME` of a configuration that comes with the package has its path."""
    found = list(arguments)
    for place, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if option not in ("-c", "--config"):
            continue
        if equals:
            found[place] = f"{option}={_config(value)}"
        elif place + 1 < len(arguments):
            found[place + 1] = _config(arguments[place + 1])
    return found


def _config(value: str) -> str:
    """The path of a configuration: as it is, if there is such a file, or none of that name comes with the package."""
    path = config_folder() / f"{value}.yaml"
    return str(path) if not Path(value).exists() and path.is_file() else value


def _configurations() -> list[str]:
    """The names of the configurations that come with the package."""
    folder = config_folder()
    files = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    return sorted(name for name in files if name != "sweep")  # that of W&B


def _help() -> str:
    """The commands, and the configurations by name."""
    rows = "\n".join(f"  {name:<10} {what}" for name, what in {**PREPARING, **TRAINING, **ANALYSES}.items())
    return (
        "Learned image augmentation by influence functions.\n\n"
        f"usage: augfluence COMMAND [--config NAME|FILE] [--SETTING VALUE ...]\n\ncommands:\n{rows}\n\n"
        "augfluence COMMAND --help describes the settings of a command.\n"
        f"configurations: {', '.join(_configurations())}\n"
    )


if __name__ == "__main__":
    main()
