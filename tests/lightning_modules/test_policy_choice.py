"""Every policy by its name: in the classifier, its controls, its callbacks, its files, the real command line."""

import csv
import json
from pathlib import Path
from typing import Any, get_args

import pytest
import pytorch_lightning as pl
import torch
from toys import SIDE, ToyData, blobs, toy_classifier, toy_trainer

from augnet import (
    AugNet,
    ClassConditionalPolicy,
    ConditionalPolicy,
    FieldPolicy,
    MixturePolicy,
    RangePolicy,
    TransformSpace,
    load_policy,
    save_policy,
)
from augnet.classic import classic_space
from augnet.policies import Policy
from lightning_modules.callbacks import PolicyPictures, PolicyWriter
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.cli import main
from lightning_modules.learner.policy_choice import PolicyName
from lightning_modules.monitoring.run_summary import ArmResult, print_summary

NAMES: tuple[PolicyName, ...] = get_args(PolicyName)
DIGITS = Path(__file__).parents[2] / "configs" / "digits.yaml"


def classifier(policy: PolicyName, **arguments: Any) -> AugmentedClassifier:
    return toy_classifier(policy=policy, in_channels=3, image_size=(SIDE, SIDE), **arguments)


def fit(model: AugmentedClassifier, **arguments: Any) -> pl.Trainer:
    trainer = toy_trainer(**arguments)
    trainer.fit(model, datamodule=ToyData(channels=3))
    return trainer


def policy_state(model: AugmentedClassifier) -> dict[str, torch.Tensor]:
    assert model.augnet is not None
    return {name: value.clone() for name, value in model.augnet.state_dict().items()}


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize("policy", NAMES)
def test_every_policy_learns_and_is_logged(policy: PolicyName, precision: Any) -> None:
    model = classifier(policy)
    before = policy_state(model)
    metrics = fit(model, precision=precision).callback_metrics
    assert model.augnet is not None
    after = policy_state(model)
    changed = [name for name, _ in model.augnet.named_parameters() if not torch.equal(after[name], before[name])]
    assert changed
    assert all(value.isfinite().all() for value in after.values())
    assert model.learned is not None
    described = model.learned.describe()
    expected = {
        f"{group}/{op}": pytest.approx(facts[fact], rel=1e-4, abs=1e-6)
        for fact, group in model.augnet.policy.logged.items()
        for op, facts in described.items()
    }
    groups = set(model.augnet.policy.logged.values())
    found = {name: float(value) for name, value in metrics.items() if name.split("/")[0] in groups}
    assert found == expected


@pytest.mark.parametrize("control", ["plain", "uniform", "shuffled", "flipped", "identity_hessian"])
@pytest.mark.parametrize("policy", NAMES[1:])
def test_every_control_of_every_policy(policy: PolicyName, control: str) -> None:
    if (policy, control) == ("field", "uniform"):
        with pytest.raises(ValueError, match=r"uniform has no meaning for a field network.*Compare it with plain"):
            classifier(policy, control=control)
        return
    model = classifier(policy, control=control)
    fit(model, limit_train_batches=2)
    assert (model.learner is None) == (control in ("plain", "uniform"))
    assert (model.augnet is None) == (control == "plain")


@pytest.mark.parametrize("policy", [name for name in NAMES if name != "field"])
def test_uniform_is_the_prior_of_a_mixture_and_the_whole_bound_otherwise(policy: PolicyName) -> None:
    model = classifier(policy, control="uniform", ops_per_image=2 if "mixture" in policy else 1)
    assert model.augnet is not None
    uniform = model.augnet.policy
    if isinstance(uniform, MixturePolicy):
        torch.testing.assert_close(uniform.probabilities(), uniform.prior())
        assert uniform.ops_per_image == 2
    else:
        assert isinstance(uniform, RangePolicy)
        assert torch.equal(uniform.half_widths(), uniform.bounds)
    assert isinstance(uniform, MixturePolicy) == ("mixture" in policy)


def test_trivial_augment_brings_its_own_ops() -> None:
    model = classifier("trivial_augment_mixture")
    assert model.augnet is not None
    assert model.augnet.space.names == classic_space().names
    assert len(model.augnet.describe()) == 14


def test_conditional_looks_at_images_of_these_channels() -> None:
    model = classifier("conditional", initial_range=0.3)
    assert model.augnet is not None
    assert isinstance(model.augnet.policy, ConditionalPolicy)
    assert model.augnet.policy.in_channels == 3
    assert model.augnet.policy.shares(model.augnet.space)["translate_x"] == pytest.approx(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("policy", NAMES[1:])
def test_files_and_pictures_of_every_policy(policy: PolicyName, tmp_path: Path) -> None:
    model = classifier(policy)
    pictures = PolicyPictures()
    fit(model, max_epochs=2, default_root_dir=tmp_path, callbacks=[pictures, PolicyWriter()])
    assert {path.name for path in tmp_path.iterdir()} == {
        "policy.json",
        "policy.safetensors",
        "augmentations.png",
        "ranges.png",
    }
    assert model.augnet is not None
    loaded = load_policy(tmp_path / "policy.json")
    assert model.learned is not None
    assert loaded.describe() == model.learned.describe()
    assert pictures.history[8] == model.learned.policy.shares(model.learned.space)
    assert all(0 <= share <= 1 for share in pictures.history[4].values())
    again = classifier(policy, policy_file=str(tmp_path / "policy.json"))
    fit(again)
    assert again.learner is None
    for name, value in model.learned.state_dict().items():
        assert torch.equal(policy_state(again)[name], value)


@pytest.mark.parametrize("policy", NAMES[1:])
def test_checkpoint_of_every_policy(policy: PolicyName, tmp_path: Path) -> None:
    model = classifier(policy, ops_per_image=2 if "mixture" in policy else 1)
    fit(model).save_checkpoint(tmp_path / "model.ckpt")
    loaded = AugmentedClassifier.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    for name, value in policy_state(model).items():
        assert torch.equal(policy_state(loaded)[name], value)


def test_labels_reach_the_policy() -> None:
    model = classifier("class_conditional", control="none")
    images, labels = blobs(6, 0, 0, channels=3)
    with torch.no_grad():
        assert model.augnet is not None
        model.augnet.policy.theta[1:] = -100.0  # only the first class is moved
    moved = (model.train().augment(images, labels)[0] != images).flatten(1).any(dim=1)
    assert torch.equal(moved, labels == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "mixtures"}, "policy must be one of ranges, intervals, mixture, .*, found 'mixtures'"),
        (
            {"policy": "ranges", "ops_per_image": 2},
            "ops_per_image is for the policies mixture and .*found 2 with policy ra",
        ),
        ({"policy": "mixture", "ops_per_image": 3}, "ops_per_image: expected 1 or 2, found 3"),
        ({"policy": "trivial_augment_mixture"}, r"saturation need images with 3 channels .*, found 1"),
        ({"policy": "class_conditional", "initial_range": 0.0}, r"initial_range must lie in \(0, 1\], found 0.0"),
        ({"policy": "field"}, "policy field is for images of one size: give image_size"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy_classifier(**arguments)


@pytest.mark.parametrize(
    ("policy", "channels", "message"),
    [
        (ConditionalPolicy(TransformSpace(["rotation"]), 3), 1, "looks at images with 3 channels, found 1"),
        (ConditionalPolicy(TransformSpace(["rotation"]), 1, num_classes=4), 1, "for 4 classes, found 3"),
        (ClassConditionalPolicy(TransformSpace(["rotation"]), 4), 1, "for 4 classes, found 3"),
    ],
)
def test_policy_files_for_other_images_or_classes(policy: Policy, channels: int, message: str, tmp_path: Path) -> None:
    save_policy(AugNet(TransformSpace(["rotation"]), policy), tmp_path / "policy.json")
    with pytest.raises(ValueError, match=message):
        toy_classifier(policy_file=str(tmp_path / "policy.json"), in_channels=channels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 3}, "fields are for images with 1 channels, found 3"),
        ({"image_size": (12, 13)}, "for images of 12x12 pixels, found 12x13: resize them"),
    ],
)
def test_a_field_network_for_other_images(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_policy(AugNet.from_fields(1, SIDE, SIDE), tmp_path / "policy.json")
    with pytest.raises(ValueError, match=message):
        toy_classifier(policy_file=str(tmp_path / "policy.json"), **arguments)


def test_a_field_network_takes_the_shape_of_the_images() -> None:
    model = classifier("field")
    assert model.augnet is not None
    assert isinstance(model.augnet.policy, FieldPolicy)
    assert model.augnet.space.config() == {
        "channels": 3,
        "height": SIDE,
        "width": SIDE,
        "composition": "parallel",
        "appearance": True,
    }


def test_table_of_a_field_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = {"displacement": {"value": 0.75, "unit": "pixels"}, "saturation": {"value": 0.5, "unit": "share"}}
    print_summary(tmp_path, [ArmResult("learned", 0.9, 1.0, described, tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells[1:] == [["displacement", "0.75", "pixels"], ["saturation", "0.5", "share"]]


def test_table_of_a_mixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"probability": 0.25, "strength": 30.0, "unit": "degrees", "bound": 60.0}
    identity = {"probability": 0.75, "strength": 0.0, "unit": "none", "bound": 0.0}
    print_summary(tmp_path, [ArmResult("learned", 0.9, 1.0, {"rotation": facts, "identity": identity}, tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells[1:] == [["identity", "75.0 %", "0", "-", "none"], ["rotation", "25.0 %", "30", "50 %", "degrees"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "shown", "column"),
    [
        ("mixture", "rotation", "probability/rotation"),
        ("conditional", "rotation", "range/rotation"),
        ("class_conditional", "rotation", "range/rotation"),
        ("intervals", "rotation", "lowest/rotation"),
        ("field", "Left out: control uniform", "field/displacement"),
    ],
)
def test_every_policy_on_the_real_command_line(
    policy: str,
    shown: str,
    column: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.chdir(tmp_path)
    quiet = ["--run.wandb=disabled", "--trainer.enable_progress_bar=false", "--data.image_size=16"]
    compare = "[uniform]" if policy == "field" else "[]"
    steps = [
        f"--run.compare={compare}",
        "--trainer.max_epochs=1",
        "--model.learner.warmup=4",
        "--trainer.log_every_n_steps=1",
    ]
    main(["fit", f"--config={DIGITS}", f"--model.policy={policy}", "--run.folder=runs", *quiet, *steps])
    folder = tmp_path / "runs" / "digits"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["ranges"] == load_policy(folder / "policy.json").describe()
    assert shown in capsys.readouterr().out
    with (folder / "metrics.csv").open() as file:
        columns = csv.DictReader(file).fieldnames or []
    assert column in columns
