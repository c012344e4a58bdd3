"""Modules of version 0.1.0 that lie elsewhere now; their old import paths work, with a DeprecationWarning."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import CodeType, ModuleType

MOVED = {
    "adapting": "adaptation.change",
    "augmented_classifier": "classifier.augmented_classifier",
    "cli": "commands.cli",
    "dashboard": "commands.dashboard",
    "data.base": "data.influence_data_module",
    "data.checks": "learner.checks",
    "data.wrong_domain": "learner.wrong_domain",
    "distinctive": "classifier.distinctive",
    "feature_capture": "learner.feature_capture",
    "guard": "learner.guard",
    "learner_settings": "learner.settings",
    "metric_keys": "monitoring.metric_keys",
    "models": "classifier.models",
    "policy_choice": "learner.policy_choice",
    "ranks": "learner.ranks",
    "run_setup": "commands.run_setup",
    "sample_weights": "learner.sample_weights",
    "staged": "learner.staged",
    "targets": "learner.targets",
    "trainer": "commands.trainer",
}
"""Old and new path of each module, under `lightning_modules`. The packages `learner` and `classifier` have the names
of the old modules."""


class MovedModules(MetaPathFinder):
    """Finds modules under their old paths."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec whose loader gives the module at its new path; None for every other name."""
        package, _, old = fullname.partition(".")
        known = old if old in MOVED else old.rpartition(".")[0]  # a module of a package that moved
        if package != __package__ or known not in MOVED:
            return None
        new = f"{package}.{MOVED[known]}{old.removeprefix(known)}"
        found = find_spec(new)
        if found is None:
            return None
        warnings.warn(
            f"{fullname} is {new} now; the old path goes with the next version.", DeprecationWarning, stacklevel=2
        )
        return spec_from_loader(fullname, _Alias(new), origin=found.origin)


class _Alias(InspectLoader):
    """Gives a module that is imported under another name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module at its new path."""
        module = import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is; it keeps the spec of its new path."""
        module.__spec__ = self.spec
        sys.modules[self.name] = module

    def get_code(self, fullname: str) -> CodeType | None:
        """The code at the new path, for `python -m`."""
        spec = find_spec(self.name)
        return spec.loader.get_code(self.name) if spec and isinstance(spec.loader, InspectLoader) else None

    def get_source(self, fullname: str) -> str | None:
        """The source at the new path."""
        spec = find_spec(self.name)
        return spec.loader.get_source(self.name) if spec and isinstance(spec.loader, InspectLoader) else None
