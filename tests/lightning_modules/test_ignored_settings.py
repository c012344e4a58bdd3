"""Settings that do nothing together with others are named."""

from typing import Any

import pytest
from toys import OPS

from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.learner.ignored_settings import ignored_settings
from lightning_modules.learner.policy_choice import PolicyChoice
from lightning_modules.learner.sample_weights import SampleSettings
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.staged import StagedSettings


def ignored(schedule: str = "joint", **arguments: Any) -> str | None:
    chosen: dict[str, Any] = {
        name: arguments.pop(name) for name in ("name", "initial_range", "control") if name in arguments
    }
    chosen = {"name": "ranges", "ops": OPS, **chosen}
    choice = PolicyChoice(**chosen)
    given: dict[str, Any] = {"learner": LearnerSettings(), "staged": StagedSettings(), "samples": SampleSettings()}
    return ignored_settings(choice, schedule, **{**given, **arguments})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"learner": LearnerSettings(kl=0.5)}, "learner.kl, which is for policy mixture, trivial_augment_mixture"),
        ({"name": "mixture", "learner": LearnerSettings(probe=0.2)}, "learner.probe, which is for policy ranges"),
        ({"name": "field", "learner": LearnerSettings(sparsity=0.2)}, "learner.sparsity"),
        ({"name": "mixture", "initial_range": 0.5}, "initial_range, which policy mixture has none of"),
        ({"staged": StagedSettings(steps=7)}, "staged.steps, which is for schedule staged"),
        ({"samples": SampleSettings(lr=0.5)}, "samples.lr, which needs samples.weights or soft_labels"),
    ],
)
def test_a_setting_that_does_nothing_is_named(arguments: dict[str, Any], named: str) -> None:
    assert named in str(ignored(**arguments))
    assert ignored(control="plain", **arguments) is None  # the settings of the run it is compared with


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"learner": LearnerSettings(probe=0.2, sparsity=0.5, kl=0.0), "initial_range": 0.5},
        {"name": "mixture", "learner": LearnerSettings(kl=0.5, sparsity=0.0)},
        {"schedule": "staged", "staged": StagedSettings(steps=7)},
        {"samples": SampleSettings(weights=True, lr=0.5)},
    ],
)
def test_settings_that_do_something_are_not(arguments: dict[str, Any]) -> None:
    assert ignored(**arguments) is None


def test_the_callback_says_it() -> None:
    with pytest.warns(UserWarning, match="these settings do nothing here: staged.steps"):
        LearnedAugmentation(OPS, staged=StagedSettings(steps=7))
