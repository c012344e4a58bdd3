"""A study of class effects from data to page, on small images of four colors."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.class_effects import Reference, predicted_harm
from augnet import load_policy
from lightning_modules.data import ImageDataModule
from studies.engine import Arm, Cache, Page, Results, Study, train
from studies.fixed_policy import FixedPolicyRun, augmentation
from studies.kinds.class_effects import KIND
from studies.kinds.class_effects.report import ClassEffectsReport
from studies.kinds.class_effects.run import POLICY, ClassRun
from studies.training import Training

CLASSES = ("amber", "blue", "cyan", "dark")
COLORS = ((200, 150, 40), (40, 60, 200), (60, 170, 200), (40, 40, 50))
TEST = 8  # images of each class
OPS = {"hue": 90.0, "exposure": 2.0}
TRAINING = Training(steps=12, batch_size=32, precision="32-true", model_kwargs={"width": 4}, accelerator="cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of four colors; in the votes, blue and cyan are the same to a third of the people."""
    root, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 40), ("test", TEST)):
        for name, color in zip(CLASSES, COLORS, strict=True):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(color) + generator.normal(0, 50, (8, 8, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    counts = 12 * np.eye(4, dtype=np.int16)[np.arange(4).repeat(TEST)]
    counts[TEST : 2 * TEST, 2] = counts[2 * TEST : 3 * TEST, 1] = 6
    np.save(root / "votes.npy", counts)
    np.save(root / "other.npy", np.ones((32, 3)))
    np.save(root / "fewer.npy", np.ones((31, 4)))
    np.save(root / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    return root


def study_of(images: Path, **changes: Any) -> Study:
    conditional = {"strengths": [0.05, 1.0], "seeds": 2}
    plain = Study(
        name="colors",
        question="?",
        kind=KIND,
        report=ClassEffectsReport(),
        tasks={"all": {}},
        arms={
            "weak": Arm({"strength": 0.05, "predict": [1.0]}),
            "strong": Arm({"strength": 1.0}),
            "conditional": Arm({"conditional": conditional}),
        },
        common={
            "path": str(images),
            "size": 64,
            "ops": OPS,
            "base": "none",
            "val_size": 40,
            "influence_size": 8,
            "human_counts": str(images / "votes.npy"),
            "training": asdict(TRAINING),
        },
        seeds=2,
    )
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def results(images: Path, folder: Path) -> Results:
    settings = study_of(images).settings()
    return dict(zip(settings, train(list(settings.values()), Cache(folder), show_progress=False), strict=True))


@pytest.fixture(scope="module")
def page(images: Path, results: Results) -> Page:
    study = study_of(images)
    return study.report.page(study, results)


def test_the_page_says_everything_about_every_class(page: Page) -> None:
    facts: Any = page.facts
    assert facts["classes"] == list(CLASSES)
    for truth in ("original", "multi_label"):
        assert [row["class"] for row in facts[truth]["classes"]] == list(CLASSES)
        means = np.array([row["accuracy"] for row in facts[truth]["classes"]]).mean(axis=0)
        np.testing.assert_allclose(means, np.mean(facts[truth]["accuracy"], axis=1))  # classes of one size
    for original, several in zip(facts["original"]["classes"], facts["multi_label"]["classes"], strict=True):
        assert all(np.array(several["accuracy"]) >= original["accuracy"])
        assert all(np.array(several["false_positives"]) <= original["false_positives"])
    assert {pair["category"] for pair in facts["pairs"]} <= {"ambiguous", "co-occurring", "fine-grained", "unrelated"}
    (step,) = facts["prediction"]
    assert np.array(step["predicted_by_seed"]).shape == (2, 4)
    assert step["agreement"]["loss"]["spearman"] is not None
    by_class = np.array([row["accuracy"] for row in facts["original"]["classes"]])
    np.testing.assert_allclose(step["accuracy_fall"], by_class[:, 0] - by_class[:, 1])
    assert set(page.pictures) == {"", "prediction"}
    json.dumps(facts, allow_nan=False)


def test_the_accuracies_are_those_of_the_counted_errors(page: Page, results: Results) -> None:
    facts: Any = page.facts
    for index, arm in enumerate(("weak", "strong")):
        wrong = [np.array(run["original"]["errors"]).sum(axis=1) for cell, run in results.items() if cell.arm == arm]
        expected = (1 - np.array(wrong) / TEST).mean(axis=0)
        np.testing.assert_allclose([row["accuracy"][index] for row in facts["original"]["classes"]], expected)


def test_the_policy_weakens_the_absorbing_classes_and_was_trained_with(
    images: Path, folder: Path, page: Page, results: Results
) -> None:
    facts: Any = page.facts
    recipe = facts["recipes"]["conditional"]
    assert recipe["absorbing"], "some of the classes absorb others here"
    run = study_of(images).setting("all", "conditional")
    widths = load_policy(Cache(folder).files(run) / POLICY).describe()["hue"]["half_widths"]
    assert widths == pytest.approx([90.0 * recipe["absorbing"].get(name, 1.0) for name in CLASSES])
    arms = recipe["comparison"]["original"]
    assert list(arms) == ["weak", "strong", "conditional"]
    assert arms["strong"]["mean"]["change"] == 0
    assert arms["conditional"]["mean"]["values"] != arms["strong"]["mean"]["values"]


def test_a_conditional_run_is_chosen_from_the_runs_of_the_study(images: Path, folder: Path, results: Results) -> None:
    """It asks for no other runs than those, and a lost one is repeated to the same numbers."""
    cache, settings = Cache(folder), study_of(images).settings()
    assert len(list(folder.glob("*.json"))) == len(settings) == 6
    lost = next(iter(settings.values()))
    before = cache.read(lost)
    (folder / f"{lost.key}.json").unlink()
    after = cache.obtain(lost)
    assert {**after, "seconds": 0} == {**(before or {}), "seconds": 0}


def test_the_prediction(images: Path, folder: Path, results: Results) -> None:
    """It is zero for the policy itself, repeats, and asks about images of every class, which lie in their order."""
    run = cast(ClassRun, study_of(images).setting("all", "weak"))
    data = ImageDataModule(**run.data_arguments())
    reference = Reference.of(run.fit(data, "none", Cache(folder).files(run) / POLICY)[1], data)
    weak, strong = (Cache(folder).files(run) / name for name in (POLICY, "strength_1.json"))
    before, after, state = augmentation("none", weak), augmentation("none", strong), torch.get_rng_state()
    assert not predicted_harm(reference, before, before).any()
    harm = predicted_harm(reference, before, after)
    assert (harm.abs() > 0).all()
    assert torch.equal(harm, predicted_harm(reference, before, after))
    assert not torch.equal(harm, predicted_harm(reference, before, after, seed=1))
    assert torch.equal(state, torch.get_rng_state())
    asked: list[int] = []

    def note(pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        asked.extend(labels.tolist())
        return pixels

    predicted_harm(reference, note, note, images=24, draws=1)
    assert len(asked) == 2 * 24
    assert set(asked) == {0, 1, 2, 3}


def test_without_absorbing_classes_nothing_is_trained(images: Path, tmp_path: Path) -> None:
    study, cache = study_of(images), Cache(tmp_path)
    for setting in study.settings(arms=["weak", "strong"]).values():
        cache.write(setting, {"validation": (10 * np.eye(4, dtype=int)).tolist()})
    result = cache.obtain(study.setting("all", "conditional"))
    assert result["recipe"] == {"affected": {}, "absorbing": {}}
    assert "original" not in result


def test_runs_that_cannot_be_measured_are_told_before_they_are_trained(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(FixedPolicyRun, "fit")
    run = cast(ClassRun, study_of(images).setting("all", "strong"))
    for counts, words in (
        ("other", r"expected \[images, 4\]"),
        ("fewer", "one row for each of 32 images"),
        ("pickled", "no .npy file of numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(run, human_counts=str(images / f"{counts}.npy")).run(Cache(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npy"):
        replace(run, human_counts="nowhere.npy").run(Cache(tmp_path))
    own = Path(shutil.copytree(images, tmp_path / "images"))
    shutil.copytree(own / "test", own / "validation")
    shutil.rmtree(own / "validation" / CLASSES[3])
    with pytest.raises(ValueError, match=r"no image of class \[3\]"):
        replace(run, path=str(own)).run(Cache(tmp_path))


def test_what_has_no_meaning_is_refused(images: Path, results: Results) -> None:
    run = cast(ClassRun, study_of(images).setting("all", "strong"))
    for fields, words in (
        ({"base": "cutmix"}, "base: cutmix mixes images"),
        ({"ops": ["mixup"]}, "leave mixup and cutmix out"),
        ({"damping": 0.0}, "damping > 0"),
        ({"vote_share": 0.0}, "vote_share"),
        ({"strength": None}, "give a strength"),
        ({"strength": 2.0}, r"in \(0, 1\]"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(run, **fields)
    weak = Arm({"strength": 0.05, "predict": [1.0]})
    for changes, words in (
        ({"seeds": 1}, "significance is over seeds"),
        ({"arms": {"strong": Arm({"strength": 1.0}), "weak": weak}}, "increasing fractions"),
        ({"arms": {"weak": Arm({"strength": 0.05}), "strong": Arm({"strength": 1.0})}}, r"expected predict \[1.0\]"),
    ):
        with pytest.raises(ValueError, match=words):
            study_of(images, **changes)
    study = study_of(images, report=ClassEffectsReport(similarity=str(images / "fewer.npy")))
    with pytest.raises(ValueError, match="each of 4 classes"):
        study.report.page(study, results)
