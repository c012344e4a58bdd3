"""Opening a finished run: the model, data, policy and seed that it had, and what is said when something is missing."""

import shutil
from pathlib import Path

import pytest
import torch

from analysis.run_folder import open_run
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_run_is_opened_as_it_ended(finished: Path) -> None:
    run = open_run(finished, device="cpu")
    oracle = AugmentedClassifier.load_from_checkpoint(finished / "checkpoints" / "last.ckpt", map_location="cpu").eval()
    images, labels = run.data.influence_set()
    with torch.no_grad():
        assert torch.equal(run.model(images), oracle(images))
    assert (run.name, run.seed, run.data.num_classes) == ("digits", 3, 10)
    assert len(labels) == 200
    assert not any(parameter.requires_grad for parameter in run.model.parameters())
    assert not run.model.training
    assert run.policy is not None
    assert oracle.learned is not None
    assert run.policy.describe() == oracle.learned.describe()
    assert set(run.policy.describe()) == {"rotation", "brightness"}


def test_a_run_without_policy_has_none(plain: Path) -> None:
    assert open_run(plain).policy is None


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.yaml", "has no config.yaml"),
        ("checkpoints", "has no checkpoints/last.ckpt"),
        ("policy.json", "has no policy.json"),
    ],
)
def test_what_is_missing_is_named(copied: Path, missing: str, message: str) -> None:
    path = copied / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        open_run(copied)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no run"):
        open_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"), [(":\n- [", "is no YAML"), ("- 1", "no configuration of a run"), ("a: 1", "model and data")]
)
def test_a_damaged_configuration(copied: Path, content: str, message: str) -> None:
    (copied / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        open_run(copied)


def test_a_checkpoint_that_holds_code_is_not_unpickled(copied: Path) -> None:
    torch.save({"state_dict": {}, "code": Path}, copied / "checkpoints" / "last.ckpt")
    with pytest.raises(ValueError, match="no checkpoint of a run"):
        open_run(copied)


def test_data_that_have_no_path_cannot_be_moved(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no path"):
        open_run(finished, data_path=str(tmp_path))
