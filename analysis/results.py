"""Result files of an analysis: `FOLDER/analysis/NAME.json` and pictures `FOLDER/analysis/NAME_*.png`."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from augnet.atomic_file import write_atomically
from lightning_modules.monitoring.plots import save_figure

FORMAT = "augfluence-analysis"
VERSION = 1


def write_result(
    folder: str | Path,
    name: str,
    result: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    seed: int,
    figures: Mapping[str, Figure] | None = None,
) -> list[Path]:
    """Write the numbers and pictures of an analysis, each file atomically; earlier ones are replaced.

    Args:
        folder: The run's folder, or that of a study.
        name: Of the analysis, as on the command line.
        result: Strings, finite numbers, booleans, None, lists and mappings. A number that is infinite or not known is
            None, with a flag beside it that tells the two apart.
        settings: The arguments of the analysis, of the same types.
        seed: Of its draws.
        figures: Pictures, by the last part of their file name.

    Returns:
        The files, the JSON file last, so that it is never there before its pictures.

    Raises:
        ValueError: If a number is not finite.
        TypeError: If a value is of another type.
        OSError: If the folder cannot be written.
    """
    target = Path(folder) / "analysis"
    pictures = {f"{name}_{part}.png": figure for part, figure in (figures or {}).items()}
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "versions": {**{one: version(one) for one in ("augfluence", "torch")}, "python": platform.python_version()},
        "settings": dict(settings),
        "seed": seed,
        "pictures": list(pictures),
        "result": dict(result),
    }
    try:
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(f"{name}: a result or setting is not finite ({error}); write None and a flag.") from error
    for picture, figure in pictures.items():
        save_figure(figure, target / picture)
    write_atomically(target / f"{name}.json", text)
    return [*(target / picture for picture in pictures), target / f"{name}.json"]


def find_result(folder: str | Path, name: str) -> Path | None:
    """Return the JSON file of a result, FOLDER/analysis/NAME.json or FOLDER/NAME.json; None if there is none."""
    places = (Path(folder) / "analysis" / f"{name}.json", Path(folder) / f"{name}.json")
    return next((place for place in places if place.is_file()), None)


def read_result(folder: str | Path, name: str) -> dict[str, Any] | None:
    """Read a result that `write_result` or a study (`python -m studies`) wrote; None if there is none.

    It has `name`, `versions`, `settings`, `seed`, `pictures` (file names) and `result`.

    Raises:
        ValueError: If the file is damaged, or of another version.
    """
    path = find_result(folder, name)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path}: no result of an analysis, it is no JSON ({error}); run the analysis again."
        ) from error
    if isinstance(content, dict) and "study" in content:
        return _of_study(content, path)
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"{path}: expected a result in {FORMAT} version {VERSION}; run the analysis again.")
    return content


def _of_study(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the facts of a study in the form of a result."""
    runs = content.get("runs") or [{}]
    pictures = [path.with_suffix(".png"), *sorted(path.parent.glob(f"{path.stem}_*.png"))]
    return {
        "name": path.stem,
        "versions": (runs[0].get("result") or {}).get("made"),
        "settings": {"runs": len(runs), **(content["study"] or {}).get("common", {})},
        "seed": 0,
        "pictures": [picture.name for picture in pictures if picture.is_file()],
        "result": content.get("facts", {}),
    }
