"""Settings that have no effect together with others: named in one line, since configurations are shared by runs."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from lightning_modules.learner.policy_choice import PolicyChoice
from lightning_modules.learner.sample_weights import SampleSettings
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.staged import StagedSettings

_MIXTURES = ("mixture", "trivial_augment_mixture")
_WIDTHS = ("ranges", "intervals", "class_conditional")
_FOR = {  # the policies that a setting of the learner is for
    "kl": _MIXTURES,
    "sparsity": _WIDTHS,
    "probe": _WIDTHS,
}


def ignored_settings(
    choice: PolicyChoice, schedule: str, learner: LearnerSettings, staged: StagedSettings, samples: SampleSettings
) -> str | None:
    """Return a sentence that names the settings that were given, differ from their default and do nothing; or None.

    Where no policy is learned at all (a control, a policy file), the settings of its learning are those of the run that
    it is compared with, and are not named.
    """
    found = list(_ignored(choice, schedule, learner, staged, samples)) if choice.learns else []
    return f"these settings do nothing here: {'; '.join(found)}." if found else None


def _ignored(
    choice: PolicyChoice, schedule: str, learner: LearnerSettings, staged: StagedSettings, samples: SampleSettings
) -> Iterator[str]:
    """Yield each setting with the reason."""
    changed = set(_changed(learner))
    for name, policies in _FOR.items():
        if name in changed and getattr(learner, name) > 0 and choice.name not in policies:
            yield f"learner.{name}, which is for policy {', '.join(policies)}, found {choice.name}"
    if choice.initial_range != PolicyChoice.initial_range and choice.name in (*_MIXTURES, "field"):
        yield f"initial_range, which policy {choice.name} has none of"
    if schedule == "joint":
        yield from (f"staged.{name}, which is for schedule staged" for name in _changed(staged))
    if not samples.any:
        yield from (f"samples.{name}, which needs samples.weights or soft_labels" for name in _changed(samples))


def _changed(settings: Any) -> list[str]:
    """Return the names of the fields that differ from their default."""
    return [field.name for field in fields(settings) if getattr(settings, field.name) != field.default]
