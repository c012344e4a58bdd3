"""The command `augfluence create FOLDER`: look at a folder of images, and write a commented configuration for `fit`.

What is wrong with the arguments is said before the libraries load, which takes seconds.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import NoReturn


def run_name(folder: Path) -> str:
    """Return a name of a run after a folder: its letters, digits, dots and dashes."""
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in folder.name).strip("-.")
    return kept[:100] or "images"


def main(args: list[str]) -> None:
    """Run the command with these arguments.

    Raises:
        SystemExit: With code 2 after a mistake, which is said in one line: a missing folder, a file that is there
            already, images that cannot be read as classes; 1 after a fault of the machine; 0 after `--help`.
    """
    given = _parser().parse_args(args)
    folder = _folder(given.folder, "FOLDER")
    influence = None if given.influence is None else _folder(given.influence, "--influence")
    name = given.name or run_name(folder)
    output = _absolute(given.output or f"{name}.yaml")
    if output.is_dir():
        _refuse(f"--output: {output} is a folder: give the path of a file.")
    if output.exists() and not given.overwrite:
        _refuse(f"{output} is there already: --overwrite replaces it, --output FILE names another.")

    from lightning_modules.commands.terminal import mistakes_in_one_line, quieten

    quieten()
    with mistakes_in_one_line():
        write_config(folder, influence, output, name, given.scratch)


def write_config(folder: Path, influence: Path | None, output: Path, name: str, scratch: bool) -> None:
    """Look at a folder, and write a configuration of a run on its images; print what was found.

    Args:
        folder: Folder, parquet or CSV file that `ImageDataModule` reads, absolute.
        influence: Images that look like deployment, or None.
        output: The file, which is replaced if it exists.
        name: Name of the run.
        scratch: True for random weights where there could be pretrained ones.

    Raises:
        ValueError: If there are no images in classes, or too few of them.
    """
    from augnet.atomic_file import write_atomically
    from lightning_modules.learner.checks import require_package

    require_package("datasets", "data", "create")
    from lightning_modules.commands.creation.commented_yaml import commented_yaml, plain
    from lightning_modules.commands.creation.description import describe
    from lightning_modules.commands.creation.settings import choose_settings
    from lightning_modules.data.folder_facts import read_facts
    from lightning_modules.data.image_splits import cut_tables
    from lightning_modules.data.images import ImageSource

    facts, opened = read_facts(folder, influence)
    settings = choose_settings(facts, name, scratch)
    chosen = plain(settings)["data"]["init_args"]
    fields = {field: value for field, value in chosen.items() if field in ImageSource.__dataclass_fields__}
    cut_tables(opened, *opened["train"].labels(), ImageSource(**fields))  # raises if the images do not suffice
    found = describe(facts)
    command = f"augfluence fit --config {shlex.quote(str(output))}"
    write_atomically(output, commented_yaml(settings, [command, "", *found]))
    print("\n".join([*found, f"Configuration: {output}", f"Train with: {command}"]))


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        _refuse(f"{message}. (`augfluence create --help` lists all options.)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="augfluence create",
        description="Look at a folder of images, and write a commented configuration for `augfluence fit`.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="CLASS/x.png, or train/CLASS/x.png with test/CLASS/x.png")
    parser.add_argument("--influence", metavar="FOLDER", help="labeled images that look like deployment, same classes")
    parser.add_argument("--output", metavar="FILE", help="the configuration; by default NAME.yaml in this folder")
    parser.add_argument("--name", help="name of the run; by default that of the folder")
    parser.add_argument("--scratch", action="store_true", help="a network without pretrained weights: no download")
    parser.add_argument("--overwrite", action="store_true", help="replace the configuration if it is there already")
    return parser


def _folder(path: str, field: str) -> Path:
    """Return a path that exists, absolute; refuse any other."""
    found = _absolute(path)
    if not found.exists():
        near = next(parent for parent in found.parents if parent.exists())
        _refuse(f"{field}: there is no {found}; the last folder on that path that exists is {near}.")
    return found


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(os.path.expandvars(path))))


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
