"""The command `python -m benchmarks.accuracy --config FILE`."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, auto_cli
from rich.console import Console
from rich.markdown import Markdown

from analysis.exchange_rate.run_cache import RunCache
from analysis.exchange_rate.sweep import sweep
from augnet.atomic_file import write_atomically
from benchmarks.accuracy.page import page, picture
from benchmarks.accuracy.study import Cell, Result, Study, of_study
from benchmarks.accuracy.training import train_and_test
from lightning_modules.commands.terminal import mistakes_in_one_line, quieten


def accuracy(
    name: str,
    study: Study,
    seeds: int | None = None,
    tasks: list[str] = [],  # noqa: B006 - read only
    arms: list[str] = [],  # noqa: B006
    folder: Path = Path("runs/benchmark-accuracy"),
    output: Path = Path("benchmarks/results/accuracy"),
    workers: int = 2,
    threads: int = 1,
    progress: bool = True,
) -> None:
    """Train arms x tasks x seeds, and compare the arms.

    Runs are kept in FOLDER, and in OUTPUT/NAME.json, from which a fresh copy of the project takes them: a second call
    trains nothing, and one that was killed goes on. Several calls may share the folder. Writes OUTPUT/NAME.json, .md
    and .png from all runs of the study that there are.

    Args:
        name: Of the study.
        study: What is compared.
        seeds: Instead of those of the study.
        tasks: Train these tasks only.
        arms: Train these arms only.
        folder: Where the runs are.
        output: Where the results go.
        workers: Processes that this call trains in.
        threads: CPU threads of each.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If an argument makes no sense.
    """
    wanted = (study if seeds is None else replace(study, seeds=seeds)).settings(tasks, arms)
    for arm in {cell.arm for cell in wanted}:
        study.arms[arm].check(arm)
    known = _runs_of(output / f"{name}.json")
    study = replace(study, seeds=max([study.seeds, seeds or 0, *(run["seed"] + 1 for run in known)]))
    cache = _cache_with(folder, study, known)
    try:
        sweep(list(wanted.values()), cache, workers, threads, show_progress=progress, train=train_and_test)
    finally:
        write(name, study, cache, output)
    Console(width=160).print(Markdown((output / f"{name}.md").read_text()))


def _cache_with(folder: Path, study: Study, known: list[dict[str, Any]]) -> RunCache:
    """The runs in a folder, with those of a results file."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = RunCache(folder.resolve())
    for setting, result in of_study(study, known):
        if not cache.has(setting):
            cache.write(setting, result)
    return cache


def write(name: str, study: Study, cache: RunCache, output: Path) -> None:
    """Write all that there is of a study.

    Args:
        name: Of the study.
        study: What is compared.
        cache: Where the runs are.
        output: Where JSON, Markdown and picture go.
    """
    cells = study.settings()
    results = {cell: result for cell, setting in cells.items() if (result := cache.read(setting)) is not None}
    runs = [{**cell._asdict(), "key": cells[cell].key, "result": result} for cell, result in results.items()]
    content = {"study": asdict(study), "runs": runs}
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / f"{name}.json", json.dumps(content, indent=1) + "\n")
    write_atomically(output / f"{name}.md", page(study, results, command_of(name)))
    drawn = output / f".{name}.png"
    picture(study, results).savefig(drawn, dpi=130)
    drawn.replace(output / f"{name}.png")


def command_of(name: str) -> str:
    """What makes the results of a study."""
    return f"python -m benchmarks.accuracy --config benchmarks/accuracy/studies/{name}.yaml"


def study_of(file: Path) -> Study:
    """The study that a YAML file describes."""
    parser = ArgumentParser()
    parser.add_function_arguments(accuracy, as_positional=False)
    study: Study = parser.instantiate(parser.parse_object(yaml.safe_load(file.read_text()))).study
    return study


def seeds_of(file: Path) -> int:
    """The number of seeds of the study in a results file."""
    return int(json.loads(file.read_text())["study"]["seeds"])


def results_of(file: Path) -> dict[Cell, Result]:
    """The runs of a results file."""
    return {Cell(run["task"], run["arm"], run["seed"]): run["result"] for run in _runs_of(file)}


def _runs_of(file: Path) -> list[dict[str, Any]]:
    return list(json.loads(file.read_text())["runs"]) if file.is_file() else []


def main(args: list[str] | None = None) -> None:
    """Run the command; a user's mistake becomes one line."""
    quieten()
    with mistakes_in_one_line():
        auto_cli(accuracy, args=args, prog="python -m benchmarks.accuracy", as_positional=False)


if __name__ == "__main__":
    main()
