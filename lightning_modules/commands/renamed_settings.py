"""Settings of 0.1.0 that have another name now, or none, in configurations and on the command line.

Old names are accepted with a DeprecationWarning, and settings that were removed are left out where they had no effect.
A setting is named by its dotted path; `init_args`, and the command in front, are not part of it.
"""

import re
import warnings
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace, get_loader, set_loader
from yaml import YAMLError

from lightning_modules.learner.settings import without_removed

RENAMED = {"data.influence_set": "data.influence_source"}
"""Old path of each renamed setting, and its new one, which differs in the last part."""

_LEARNER = ("model", "learner")

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
    if tuple(part for part in path if part != "init_args")[-2:] == _LEARNER:
        value = without_removed(value)
    for name, field in value.items():
        new = _new_name(path, str(name))
        if new != name and new in value:
            raise ValueError(f"{'.'.join([*path, name])} is the old name of {new}, which is given too: leave it out.")
        renamed[new if isinstance(name, str) else name] = _renamed(field, (*path, str(name)))
    return renamed


def _new_name(path: list[str] | tuple[str, ...], name: str) -> str:
    """Return the new name of a setting, and warn if it has one; otherwise its name."""
    given = ".".join([*(part for part in path if part != "init_args"), name])
    for old, new in RENAMED.items():
        if given == old or given.endswith(f".{old}"):
            warnings.warn(
                f"the setting {old} is called {new} now; its old name goes with the next version.",
                DeprecationWarning,
                stacklevel=2,
            )
            return new.rpartition(".")[2]
    return name


def _load(text: str) -> Any:
    """Read YAML, and replace old names."""
    return _renamed(get_loader("yaml")(text), ())


set_loader(RENAMED_MODE, _load, exceptions=(YAMLError, ValueError))
