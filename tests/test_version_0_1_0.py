"""The files and names of version 0.1.0: read, with a DeprecationWarning.

`golden/version_0_1_0` is a run of that version: two epochs of the digits, with an op that was spelled otherwise, sample
weights and cross-fitting. The expected numbers are those with which 0.1.0 itself went on from its checkpoint.
"""

import json
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest
import torch

from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.classifier.old_checkpoints import modernize
from lightning_modules.commands.cli import main
from lightning_modules.learner.settings import without_removed
from lightning_modules.moved import MOVED

ROOT = Path(__file__).parents[1]
RUN = Path(__file__).parent / "golden" / "version_0_1_0"
CHECKPOINT = RUN / "checkpoints" / "last.ckpt"
OLD_NAMES = "ignore:.*(is called|is 'posterize'|were removed|is lightning_modules.):DeprecationWarning"


@pytest.mark.slow
@pytest.mark.filterwarnings(OLD_NAMES)
def test_a_run_goes_on_as_in_version_0_1_0(tmp_path: Path) -> None:
    where = [f"--run.folder={tmp_path}", "--run.name=resumed", "--trainer.max_epochs=3"]
    main(["fit", f"--config={RUN / 'config.yaml'}", f"--ckpt_path={CHECKPOINT}", *where])
    summary = json.loads((tmp_path / "resumed" / "summary.json").read_text())
    assert summary["test_accuracy"]["learned"] == pytest.approx(0.607053, abs=0.01)
    found = {name: facts["half_width"] for name, facts in summary["ranges"].items()}
    assert found == pytest.approx({"rotation": 7.64471, "brightness": 0.011787, "posterize": 0.145256}, rel=1e-2)
    resumed = torch.load(tmp_path / "resumed" / "checkpoints" / "last.ckpt", weights_only=True)
    states, old = resumed["callbacks"]["LearnedAugmentation"], torch.load(CHECKPOINT, weights_only=True)
    assert states["learner"]["updates"] > old["policy_learner"]["updates"] > 0
    assert torch.equal(states["samples"]["log_weights"], old["sample_weights"]["log_weights"])  # within their warm-up


@pytest.mark.filterwarnings(OLD_NAMES)
def test_a_classifier_is_built_from_a_checkpoint() -> None:
    model = AugmentedClassifier.load_from_checkpoint(CHECKPOINT)
    old = torch.load(CHECKPOINT, weights_only=True)
    assert model.learned is not None
    assert torch.equal(model.learned.policy.theta, old["policy_learner"]["average"]["policy"]["theta"])
    assert model.augnet is not None
    assert torch.equal(model.augnet.policy.theta, old["state_dict"]["augnet.policy.theta"])


def test_the_warnings_name_what_is_new() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        AugmentedClassifier.load_from_checkpoint(CHECKPOINT)
    said = " ".join(str(one.message) for one in warned if one.category is DeprecationWarning)
    for words in ("'posterise' is 'posterize'", "learner.identity, "):
        assert words in said


def test_a_setting_that_was_removed_is_refused_where_it_had_an_effect() -> None:
    with pytest.raises(ValueError, match=r"learner.budget was removed after version 0.1.0, found 0.2: leave it out"):
        without_removed({"budget": 0.2})
    with pytest.warns(DeprecationWarning, match=r"learner.estimator were removed"):
        assert without_removed({"estimator": "score_function", "lr": 0.1}) == {"lr": 0.1}


@pytest.mark.parametrize("old", MOVED)
def test_modules_are_found_under_their_old_paths(old: str) -> None:
    name = f"lightning_modules.{old}"
    sys.modules.pop(name, None)
    with pytest.warns(DeprecationWarning, match=f"{name} is lightning_modules.{MOVED[old]} now"):
        module = import_module(name)
    assert module is import_module(f"lightning_modules.{MOVED[old]}")
    assert module.__spec__ is not None
    assert module.__spec__.name == f"lightning_modules.{MOVED[old]}"


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("learner", ("PolicyLearner", "PolicyUpdate", "LearnerSettings", "GuardSettings")),
        ("classifier", ("Classifier", "AugmentedClassifier")),
    ],
)
def test_packages_have_the_names_of_the_modules_they_were(module: str, names: tuple[str, ...]) -> None:
    package = import_module(f"lightning_modules.{module}")
    for name in names:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        _ = package.NoSuchName


def test_modules_of_a_moved_package_are_the_same() -> None:
    for name in ("lightning_modules.models", "lightning_modules.models.wide_resnet"):
        sys.modules.pop(name, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = import_module("lightning_modules.models.wide_resnet")
    assert old is import_module("lightning_modules.classifier.models.wide_resnet")


def test_weights_of_the_augmentation_of_other_classifiers_stay() -> None:
    weights = {"augmentation.weight": torch.ones(1)}
    checkpoint = {"state_dict": weights, "hyper_parameters": {"num_classes": 3}}
    modernize(checkpoint)
    assert "augmentation.weight" in weights


@pytest.mark.slow
def test_a_moved_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "lightning_modules.dashboard", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--dry_run" in done.stdout
