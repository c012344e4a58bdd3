"""Settings of 0.1.0 that have another name now, or none, in configurations and on the command line.

Old names are accepted with a DeprecationWarning, and settings that were removed are left out where they had no effect.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import Namespace, get_loader, set_loader
from yaml import YAMLError

from lightning_modules.data.renamed_arguments import RENAMED, warn_of_old_name
from lightning_modules.learner.settings import without_removed

RENAMED_MODE = "yaml_with_old_names"
"""Mode of a jsonargparse parser that reads configurations with old names, once this module is imported."""


def with_new_names(args: Any) -> Any:
    """Return arguments of the command line with new names.

    Args:
        args: A list of words, or nested fields, as `LightningCLI` takes them.

    Raises:
        ValueError: If a setting is given by both names.
    """
    if isinstance(args, Namespace):
        args = args.as_dict()
    return [_renamed_word(word) for word in args] if isinstance(args, list) else _renamed(args, ())


def _renamed_word(word: str) -> str:
    """Return `--path` or `--path=value` with the new path."""
    found = re.fullmatch(r"--([\w.]+?)(\+?(?:=.*)?)", word, re.S)
    if found is None:
        return word
    *path, name = found[1].split(".")
    return f"--{'.'.join([*path, _new_name(path, name)])}{found[2]}"


def _renamed(value: Any, path: tuple[str, ...]) -> Any:
    """Return nested fields with new names."""
    if not isinstance(value, Mapping):
        return value
    renamed = {}
    if _without_init_args(path)[-2:] == ["model", "learner"]:
        value = without_removed(value)
    for name, field in value.items():
        new = _new_name(path, name)
        if new != name and new in value:
            raise ValueError(f"{'.'.join([*path, name])} is the old name of {new}, which is given too: leave it out.")
        renamed[new] = _renamed(field, (*path, str(name)))
    return renamed


def _new_name(path: Sequence[str], name: str) -> str:
    """Return the new name of a setting of the data, and warn if it has one; otherwise its name."""
    if name not in RENAMED or _without_init_args(path)[-1:] != ["data"]:
        return name
    warn_of_old_name("setting", f"data.{name}", f"data.{RENAMED[name]}")
    return RENAMED[name]


def _without_init_args(path: Sequence[str]) -> list[str]:
    """Return the path that names a setting."""
    return [part for part in path if part != "init_args"]


def _load(text: str) -> Any:
    """Read YAML, and replace old names."""
    return _renamed(get_loader("yaml")(text), ())


set_loader(RENAMED_MODE, _load, exceptions=(YAMLError, ValueError))
