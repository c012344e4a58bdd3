"""The command `report`: one self-contained page about runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from augnet.atomic_file import write_atomically
from lightning_modules.monitoring.progress import progress_bar

from ..report import comparison, learned, op_section
from ..report.accuracy import ArmAccuracies, Summary, read_summary
from ..report.blocks import DASH, Chapter, Section, Table, listed, number, spoken
from ..report.page import render
from ..report.run_sections import Effort, Sections, run_sections
from ..run_folder import OpenedRun, open_run
from ..statistics import Interval, over_seeds

_STEPS = 4  # that a run's sections tell of


def report(
    runs: list[Path],
    out: Path | None = None,
    studies: list[Path] | None = None,
    images: int = 1024,
    seed: int = 0,
    device: str = "auto",
    data_path: str | None = None,
) -> None:
    """Write one page about one or several runs: the learned policy, its effect on accuracy, and all analyses.

    A single HTML file that needs no network. Runs of different seeds give means and intervals. Results in RUN/analysis
    and RUN/attribution are shown; for missing ones the page names the command that makes them.

    Args:
        runs: Folders of runs that `train.py fit` wrote, runs/NAME.
        out: The file of the page; by default RUN/report.html, or ./report.html for several runs.
        studies: Folders of results that belong to no single run, such as studies/results.
        images: Training images behind the influence of ops and, unless `train.py attribute` has run, of images; 0
            leaves both out.
        seed: Of the choice of images, and of draws.
        device: Device of the networks: auto, cpu, cuda.
        data_path: Present place of the data, if they have moved since the runs.
    """
    if not runs:
        raise ValueError("runs: give the folder of at least one run, runs/NAME.")
    if images < 0:
        raise ValueError(f"images must be at least 0, found {images}.")
    folders = list(dict.fromkeys(Path(run) for run in runs))
    target = (folders[0] / "report.html" if len(folders) == 1 else Path("report.html")) if out is None else Path(out)
    _check_places(target, studies or [])
    opened = [open_run(folder, device, data_path) for folder in folders]
    summaries = [read_summary(folder) for folder in folders]
    arms = comparison.arms_of(opened, summaries)
    with progress_bar() as bar:
        task = bar.add_task("report", total=_STEPS * len(opened))

        def on_step(what: str) -> None:
            bar.update(task, advance=1, description=what)

        effort = Effort(images, seed, list(studies or ()), on_step)
        pages = [run_sections(*pair, effort, f"run{k}") for k, pair in enumerate(zip(opened, summaries, strict=True))]
        bar.update(task, description="report")
    write_atomically(target, _page(opened, summaries, arms, pages))
    Console().print(f"Written: {target}", soft_wrap=True)


def _check_places(target: Path, studies: Sequence[Path]) -> None:
    """Raise before anything is computed if the page cannot be written, or a study has no results."""
    if target.is_dir():
        raise ValueError(f"out: {target} is a folder; give the name of a file, such as {target / 'report.html'}.")
    for study in studies:
        if not any([*(study / "analysis").glob("*.json"), *study.glob("*.json")]):
            raise FileNotFoundError(
                f"studies: there is no result in {study}; give a folder of results, such as studies/results."
            )


def _page(
    runs: Sequence[OpenedRun], summaries: Sequence[Summary | None], arms: ArmAccuracies, pages: Sequence[Sections]
) -> str:
    overview = _ranges(runs)
    shared = [comparison.comparison(arms, runs, summaries), *([overview] if overview else [])]
    names = comparison.names_of(runs)
    chapters = [
        Chapter(f"run{place}", f"Run {name}", sections)
        for place, (name, (sections, _)) in enumerate(zip(names, pages, strict=True))
    ]
    title = f"What the run {names[0]} learned" if len(runs) == 1 else f"What {len(runs)} runs learned: {listed(names)}"
    said, caveats = _summary(runs, arms, pages, comparison.precision_sentence(summaries))
    return render(title, said, caveats, shared, chapters)


def _summary(
    runs: Sequence[OpenedRun], arms: ArmAccuracies, pages: Sequence[Sections], precision: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the sentences of the summary, with those about mean average precision, and their caveats."""
    said: list[str] = []
    for name, run, (_, ops) in zip(comparison.names_of(runs), runs, pages, strict=True):
        words = _learned(run) + ([op_section.sentence(run, ops)] if ops is not None else [])
        said += words if len(runs) == 1 else [f"Run {name}. {' '.join(words)}"]
    if not arms.by_seed:
        return said, ["There is no test accuracy yet: see below for what to run."]
    caveat = comparison.caveat(arms)
    compared = comparison.sentences(arms, comparison.count_tested(runs))
    return [*compared, *precision, *said], [caveat] if caveat else []


def _learned(run: OpenedRun) -> list[str]:
    if run.policy is None:
        return ["It was trained without a learned policy (control plain)."]
    control = run.model.control
    words = [] if control == "none" else [f"This run is the control {spoken(control)}."]
    return [*words, *learned.sentences(run.policy.describe())]


def _ranges(runs: Sequence[OpenedRun]) -> Section | None:
    """Return the section of mean learned magnitudes over runs; None for one run, or policies over different ops."""
    described = [run.policy.describe() for run in runs if run.policy is not None and run.model.control == "none"]
    if len(described) < 2 or len({tuple(facts) for facts in described}) > 1:
        return None
    kind = learned.kind_of(described[0])
    fact = {"mixture": "probability", "ranges": "half_width", "fields": "value"}[kind]
    if any(learned.kind_of(facts) != kind for facts in described):
        return None
    rows = []
    for op, facts in described[0].items():
        found = over_seeds([float(other[op][fact]) for other in described])
        unit = "share of choices" if kind == "mixture" else str(facts["unit"])
        rows.append([spoken(op), number(found.value), _bounds(found), unit])
    caption = f"{spoken(fact).capitalize()} over {len(described)} runs, with 95 % intervals (Student's t)"
    table = Table(caption, ["Op", "Mean", "95 % interval", "Unit"], rows, frozenset({0, 3}))
    return Section("policies", "What the runs learned, together", [table])


def _bounds(found: Interval) -> str:
    return DASH if found.low is None else f"{number(found.low)} to {number(found.high)}"
