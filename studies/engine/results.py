"""The published results of a study: NAME.json with all runs, NAME.md and pictures made from it."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augnet.atomic_file import write_atomically
from studies.engine.cache import Cache
from studies.engine.report import Page
from studies.engine.study import Cell, Results, Study

_DOTS = 130  # per inch


def read_results(study: Study, folder: Path) -> dict[Cell, dict[str, Any]]:
    """Return the published runs of a study whose keys are those of its cells as it is now.

    Args:
        study: The study; it may have more seeds than its file says, see `published_seeds`.
        folder: Holds NAME.json.
    """
    known = {run["key"]: run["result"] for run in _runs(study, folder)}
    return {cell: known[setting.key] for cell, setting in study.settings().items() if setting.key in known}


def published_seeds(study: Study, folder: Path) -> int:
    """Return how many seeds the published runs of a study have, 0 without any."""
    return max((run["seed"] + 1 for run in _runs(study, folder)), default=0)


def fill(cache: Cache, study: Study, folder: Path) -> None:
    """Put published runs into a cache that lacks them, so that a fresh copy of the project trains nothing again."""
    settings = study.settings()
    for cell, result in read_results(study, folder).items():
        if not cache.has(settings[cell]):
            cache.write(settings[cell], result)


def write_results(study: Study, results: Results, folder: Path) -> None:
    """Publish results as NAME.json, NAME.md and pictures.

    Args:
        study: The study.
        results: Of all cells that there are.
        folder: Of the files; made if needed.
    """
    page = study.report.page(study, results)
    settings = study.settings()
    runs = [{**cell._asdict(), "key": settings[cell].key, "result": result} for cell, result in results.items()]
    for part, figure in page.pictures.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=_DOTS, format="png")
        write_atomically(folder / f"{'_'.join(filter(None, (study.name, part)))}.png", drawn.getvalue())
    write_atomically(folder / f"{study.name}.md", markdown(study, results, page))
    write_atomically(folder / f"{study.name}.json", _json(study, page, runs))


def markdown(study: Study, results: Results, page: Page) -> str:
    """Return the page in Markdown: question, command, what made the runs, how many there are, and its parts."""
    made = dict.fromkeys(", ".join(f"{k} {v}" for k, v in run["made"].items()) for run in results.values())
    head = (
        f"`python -m studies {study.name}`. {len(results)} of {len(study.settings())} runs, made with "
        f"{'; and with '.join(made)}. Intervals are Student's t at 95 % over the seeds; differences are paired by seed."
    )
    return "\n\n".join([f"# {study.question}", head, *page.parts]) + "\n"


def _json(study: Study, page: Page, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the study, the facts of its page and the runs, each part and each run on a line of its own."""
    parts = {"study": study.source, **({"facts": page.facts} if page.facts else {})}
    lines = [f'"{name}": {json.dumps(part, allow_nan=False)},' for name, part in parts.items()]
    texts = ",\n".join(json.dumps(run, allow_nan=False) for run in runs)
    return "\n".join(["{", *lines, f'"runs": [\n{texts}\n]', "}", ""])


def _runs(study: Study, folder: Path) -> list[dict[str, Any]]:
    file = folder / f"{study.name}.json"
    return list(json.loads(file.read_text())["runs"]) if file.is_file() else []
