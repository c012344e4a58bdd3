"""Read a study from its YAML file."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from studies.engine.overlay import build
from studies.engine.study import Arm, Kind, Study

_FIELDS = {"question", "kind", "seeds", "report", "common", "tasks", "arms"}


def read_study(file: Path) -> Study:
    """Return the study that a YAML file describes; its name is that of the file.

    The file has `question`, `kind` (a module of `studies.kinds`, or the full name of any other module with a `KIND`),
    `arms` and, where they are needed, `seeds`, `common`, `tasks` and `report`. An arm may say which `tasks` it is
    trained on.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file says something that there is not.
    """
    source = _mapping(yaml.safe_load(file.read_text()), f"{file}: expected a mapping")
    if unknown := sorted(set(source) - _FIELDS):
        raise ValueError(f"{file}: there is no {unknown[0]!r}; a study has {', '.join(sorted(_FIELDS))}.")
    if missing := sorted({"question", "kind", "arms"} - set(source)):
        raise ValueError(f"{file}: expected {missing[0]!r}, found none.")
    kind = find_kind(source["kind"])
    arms = {name: _mapping(arm or {}, f"{file}: arm {name!r}") for name, arm in source["arms"].items()}
    return Study(
        name=file.stem,
        question=source["question"],
        kind=kind,
        report=build(kind.report, source.get("report", {}), f"{file}, report"),
        tasks={name: task or {} for name, task in source.get("tasks", {"all": {}}).items()},
        arms={
            name: Arm({k: v for k, v in arm.items() if k != "tasks"}, arm.get("tasks")) for name, arm in arms.items()
        },
        common=source.get("common", {}),
        seeds=source.get("seeds", 1),
        source=source,
    )


def find_kind(name: str) -> Kind:
    """Return the kind of study that a module defines as `KIND`.

    Args:
        name: Of a module of `studies.kinds`, or the full name of another module.

    Raises:
        ValueError: If there is no such module, or it has no `KIND`.
    """
    module = name if "." in name else f"studies.kinds.{name}"
    try:
        kind: Kind = import_module(module).KIND
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"kind: expected a module with a KIND, found {name!r} ({error}).") from error
    return kind


def _arm(fields: Mapping[str, Any]) -> Arm:
    return Arm({name: value for name, value in fields.items() if name != "tasks"}, fields.get("tasks"))


def _mapping(value: Any, message: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{message}, found {value!r}.")
    return value
