"""Mistakes in the arguments of a command that can be told before the libraries load, which takes seconds.

Names of settings are read from the source of the classes that they are arguments of. What passes here is judged by the
parser of the command, which knows values and types too.
"""

import ast
import difflib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_OWN, _LIGHTNING = "lightning_modules", "pytorch_lightning"
_GROUPS = {  # prefix of an option: the classes whose arguments follow it
    "change": [(_OWN, "adaptation/change.py", "Change")],
    "run": [(_OWN, "commands/run_setup.py", "RunSettings")],
    "trainer": [(_LIGHTNING, "trainer/trainer.py", "Trainer")],
    "model": [
        (_OWN, "classifier/augmented_classifier.py", "AugmentedClassifier"),
        (_OWN, "classifier/classifier.py", "Classifier"),
    ],
    "model.learner": [(_OWN, "learner/settings.py", "LearnerSettings")],
    "model.guard": [(_OWN, "learner/guard.py", "GuardSettings")],
    "model.staged": [(_OWN, "learner/staged.py", "StagedSettings")],
    "model.samples": [(_OWN, "learner/sample_weights.py", "SampleSettings")],
}
_COMMANDS = [(_LIGHTNING, "trainer/trainer.py", "Trainer"), (_OWN, "commands/trainer.py", "AugfluenceTrainer")]
_ALWAYS = {"config", "data", "help", "model", "print_config", "run", "seed_everything", "trainer"}


def find_mistake(command: str, words: list[str], configurations: list[str]) -> str | None:
    """Return what is wrong with the arguments of a command that trains or reads a trained model; None if unknown.

    Args:
        command: `fit`, `retrain`, ...
        words: The arguments behind it; names of configurations that come with the package are paths already.
        configurations: These names.
    """
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in ("-c", "--config", "--ckpt_path"):
            value = value if equals else next(iter(words[place + 1 :]), "")
            mistake = _missing_file(option, value, configurations)
        else:
            mistake = _unknown_option(command, option)
        if mistake is not None:
            return mistake
    return None


def _missing_file(option: str, value: str, configurations: list[str]) -> str | None:
    """Return the mistake of a file that does not exist; words with a colon are addresses, or YAML itself."""
    path = Path(value).expanduser()
    if not value or any(sign in value for sign in ":{$\n") or path.exists():
        return None
    if option == "--ckpt_path":
        return None if path.suffix != ".ckpt" else f"ckpt_path: there is no checkpoint {value}."
    close = difflib.get_close_matches(value, configurations, n=1)
    guess = f"Did you mean {close[0]}?" if close else "`augfluence --help` lists those that are known by name."
    return f"config: there is no file {value}. {guess}"


def _unknown_option(command: str, option: str) -> str | None:
    """Return the mistake of an option that no class has an argument for; beginnings of names are abbreviations."""
    parts = option.removeprefix("--").rstrip("+").split(".")
    if not option.startswith("--") or not all(part.isidentifier() for part in parts):
        return None
    for depth, part in enumerate(parts[:3]):
        prefix = ".".join(parts[:depth])
        known = _names(_GROUPS[prefix]) | {"help"} if prefix in _GROUPS else _options(command) if not prefix else None
        if known is None:
            return None
        if not any(name.startswith(part) for name in known):
            close = difflib.get_close_matches(part, sorted(known), n=1)
            guess = f": did you mean --{'.'.join([*parts[:depth], close[0]])}?" if close else "."
            return f"there is no option {option}{guess} (`augfluence {command} --help` lists all settings.)"
    return None


@cache
def _options(command: str) -> frozenset[str]:
    """Return the options of a command that stand for themselves or begin a group."""
    methods = (
        method
        for place in _COMMANDS
        for method in _class(*place).body
        if isinstance(method, ast.FunctionDef) and method.name == command
    )
    return frozenset(_ALWAYS).union(*(_arguments(method) for method in methods))


def _names(places: list[tuple[str, str, str]]) -> set[str]:
    """Return the names of the arguments that classes take: those of their initializer, or fields of a dataclass."""
    found: set[str] = set()
    for node in (node for place in places for node in _class(*place).body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            found.update(_arguments(node))
    return found


def _arguments(function: ast.FunctionDef) -> Iterator[str]:
    return (argument.arg for argument in (*function.args.args, *function.args.kwonlyargs))


@cache
def _class(package: str, file: str, name: str) -> ast.ClassDef:
    """Return the definition of a class, without importing its package."""
    spec = find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    path = Path(spec.submodule_search_locations[0]) / file
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
