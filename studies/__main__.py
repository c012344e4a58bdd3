"""The command `python -m studies NAME`."""

import os
from dataclasses import replace
from pathlib import Path

from jsonargparse import auto_cli
from rich.console import Console
from rich.markdown import Markdown

from lightning_modules.commands.terminal import mistakes_in_one_line, quieten
from studies.data_location import VARIABLE
from studies.engine import Cache, train, write_results
from studies.engine.results import fill, published_seeds
from studies.engine.study import Study
from studies.engine.yaml_file import read_study

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"


def study(
    name: str,
    seeds: int | None = None,
    tasks: list[str] = [],  # noqa: B006 - read only
    arms: list[str] = [],  # noqa: B006
    data: Path | None = None,
    folder: Path = Path("runs/studies"),
    output: Path = RESULTS,
    workers: int = 1,
    threads: int = 1,
    progress: bool = True,
) -> None:
    """Train arms x tasks x seeds, and compare the arms.

    Every run is kept in FOLDER, and in OUTPUT/NAME.json, from which a fresh copy of the project takes it: a second call
    trains nothing, and one that was killed continues. Several calls may share the folder and so the work. Writes
    OUTPUT/NAME.json, .md and pictures from all runs of the study that there are.

    Args:
        name: Of a file in `studies`, without `.yaml`, or the path of a YAML file.
        seeds: Number of seeds, instead of that of the study.
        tasks: Train these tasks only.
        arms: Train these arms only.
        data: Folder of the data sets; by default AUGFLUENCE_DATA, or `../shared/data`.
        folder: Keeps the runs.
        output: Folder of the results.
        workers: Processes that this call trains in.
        threads: CPU threads of each.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If an argument makes no sense.
        FileNotFoundError: If there is no such study or no such data set.
    """
    if data is not None:
        os.environ[VARIABLE] = str(data)  # the workers inherit it
    asked = read_study(find_file(name))
    asked = asked if seeds is None else replace(asked, seeds=seeds)
    wanted = asked.settings(tasks, arms)
    for cell, setting in wanted.items():
        if cell.seed == 0:
            setting.check()
    whole = replace(asked, seeds=max(asked.seeds, published_seeds(asked, output)))
    cache = Cache(folder)
    fill(cache, whole, output)
    try:
        train(list(wanted.values()), cache, workers, threads, progress)
    finally:
        publish(whole, cache, output)
    Console(width=160).print(Markdown((output / f"{whole.name}.md").read_text()))


def publish(study: Study, cache: Cache, output: Path) -> None:
    """Write the results of all runs of a study that there are; nothing without any."""
    found = {cell: result for cell, setting in study.settings().items() if (result := cache.read(setting)) is not None}
    if found:
        write_results(study, found, output)


def find_file(name: str) -> Path:
    """Return the file of a study.

    Raises:
        FileNotFoundError: If there is none.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml")))
        raise FileNotFoundError(f"there is no study {name!r}; known are {known}; or give the path of a YAML file.")
    return file


def main(args: list[str] | None = None) -> None:
    """Run the command; a user's mistake becomes one line."""
    quieten()
    with mistakes_in_one_line():
        auto_cli(study, args=args, prog="python -m studies")


if __name__ == "__main__":
    main()
