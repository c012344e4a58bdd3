"""`python -m analysis class_effects` from data to files, on small images of four colours."""

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import analysis.class_effects.command as command
from analysis.__main__ import main
from analysis.class_effects.observation import train_and_observe
from analysis.class_effects.prediction import predicted_harm
from analysis.class_effects.reference import Reference
from analysis.class_effects.study import Study
from analysis.exchange_rate.setting import Measurement, Setting, Training
from analysis.exchange_rate.training import view_maker
from analysis.result_files import read_result
from augnet import load_policy

CLASSES = ("amber", "blue", "cyan", "dark")
COLOURS = ((200, 150, 40), (40, 60, 200), (60, 170, 200), (40, 40, 50))
TEST = 8  # images of each class
OPS = {"hue": 90.0, "exposure": 2.0}


def write_images(root: Path) -> Path:
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", TEST)):
        for name, colour in zip(CLASSES, COLOURS, strict=True):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + generator.normal(0, 50, (8, 8, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def votes(images: Path) -> Path:
    """Blue and cyan are the same to a third of the people."""
    counts = 12 * np.eye(4, dtype=np.int16)[np.arange(4).repeat(TEST)]
    counts[TEST : 2 * TEST, 2] = counts[2 * TEST : 3 * TEST, 1] = 6
    np.save(images / "votes.npy", counts)
    return images / "votes.npy"


def arguments(images: Path, folder: Path, *others: str) -> list[str]:
    return [
        "class_effects",
        str(images),
        f"--folder={folder}",
        f"--ops={json.dumps(OPS)}",
        "--base=none",
        "--strengths=[0.05,1.0]",
        "--size=64",
        "--seeds=2",
        "--training.steps=12",
        "--training.batch_size=32",
        "--training.precision=32-true",
        "--training.model_kwargs={width: 4}",
        "--training.accelerator=cpu",
        "--measurement.val_size=40",
        "--measurement.influence_size=8",
        "--progress=false",
        *others,
    ]


@pytest.fixture(scope="module")
def folder(images: Path, votes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    main(arguments(images, folder, f"--human_counts={votes}"))
    return folder


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    content = read_result(folder, "class_effects")
    assert content is not None
    return content


def test_the_result_says_everything_about_every_class(content: dict[str, Any]) -> None:
    result = content["result"]
    assert result["classes"] == list(CLASSES)
    for truth in ("original", "multi_label"):
        assert [row["class"] for row in result[truth]["classes"]] == list(CLASSES)
        means = np.array([row["accuracy"] for row in result[truth]["classes"]]).mean(axis=0)
        np.testing.assert_allclose(means, np.mean(result[truth]["accuracy"], axis=1))  # classes of one size
    rows = zip(result["original"]["classes"], result["multi_label"]["classes"], strict=True)
    for original, several in rows:
        assert all(np.array(several["accuracy"]) >= original["accuracy"])
        assert all(np.array(several["false_positives"]) <= original["false_positives"])
    assert {pair["category"] for pair in result["pairs"]} <= {"ambiguous", "co-occurring", "fine-grained", "unrelated"}
    (step,) = result["prediction"]
    assert np.array(step["predicted_by_seed"]).shape == (2, 4)
    assert step["agreement"]["loss"]["spearman"] is not None
    by_class = np.array([row["accuracy"] for row in result["original"]["classes"]])
    np.testing.assert_allclose(step["accuracy_fall"], by_class[:, 0] - by_class[:, 1])


def test_the_pictures_and_the_settings_are_there(folder: Path, content: dict[str, Any]) -> None:
    assert content["pictures"] == ["class_effects_classes.png", "class_effects_prediction.png"]
    for picture in content["pictures"]:
        assert Image.open(folder / "analysis" / picture).size[0] > 400
    assert content["settings"]["strengths"] == [0.05, 1.0]
    assert content["settings"]["votes"] is True


def test_the_policy_file_weakens_the_absorbing_classes_and_was_trained_with(
    folder: Path, content: dict[str, Any]
) -> None:
    recipe = content["result"]["recipe"]
    assert recipe["absorbing"], "two of four classes absorb others here"
    widths = load_policy(folder / recipe["policy_file"]).describe()["hue"]["half_widths"]
    expected = [90.0 * recipe["absorbing"].get(name, 1.0) for name in CLASSES]
    assert widths == pytest.approx(expected)
    arms = recipe["comparison"]["original"]
    assert list(arms) == ["strength 0.05", "strength 1", "class-conditional"]
    assert arms["strength 1"]["mean"]["change"] == 0
    assert arms["class-conditional"]["mean"]["values"] != arms["strength 1"]["mean"]["values"]


def test_a_second_call_trains_nothing(
    images: Path, votes: Path, folder: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(command, "train_and_observe", refuse)
    main(arguments(images, folder, f"--human_counts={votes}"))
    assert read_result(folder, "class_effects") == content


def test_a_lost_run_alone_is_repeated_to_the_same_numbers(
    images: Path, votes: Path, folder: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def count(setting: Setting, weights: Path) -> dict[str, Any]:
        trained.append(setting.key)
        return train_and_observe(setting, weights)

    monkeypatch.setattr(command, "train_and_observe", count)
    lost = sorted((folder / "runs").glob("*.json"))[0]
    before = json.loads(lost.read_text())["result"]
    lost.unlink()
    main(arguments(images, folder, f"--human_counts={votes}"))
    assert trained == [lost.stem]
    after = json.loads(lost.read_text())["result"]
    assert {**after, "seconds": 0} == {**before, "seconds": 0}


def test_calls_with_other_arguments_leave_the_policies_of_each_others_runs_alone(
    images: Path, votes: Path, folder: Path, content: dict[str, Any], tmp_path: Path
) -> None:
    """Every run still names a policy file with the content that it was trained with."""
    shared = Path(shutil.copytree(folder, tmp_path / "study"))
    shutil.rmtree(shared / "runs")
    calls = [[], ["--strengths=[0.2,1.0]"], ["--ops={hue: 45.0}", "--retrain=false"], []]
    weakened = []
    for others in calls:
        main(arguments(images, shared, *others))
        recipe = (read_result(shared, "class_effects") or {})["result"]["recipe"]
        weakened.append(recipe["absorbing"])
        described = load_policy(shared / "class_conditional_policy.json").describe()["hue"]
        expected = [described["bound"] * recipe["absorbing"].get(name, 1.0) for name in CLASSES]
        assert described["half_widths"] == pytest.approx(expected)  # the one for people is that of the last call
    assert set(weakened[0].values()) == {0.05}
    assert set(weakened[1].values()) == {0.2}
    assert weakened[3] == weakened[0]
    runs = sorted((shared / "runs").glob("*.json"))
    assert len(runs) == (4 + 2) + (2 + 2) + 4  # strengths and recipe, twice, and strengths over other ops
    for run in runs:
        facts = json.loads(run.read_text())["setting"]
        parts = {"training": Training(**facts["training"]), "measurement": Measurement(**facts["measurement"])}
        assert Setting(**{**facts, **parts}).key == run.stem


def test_the_prediction_asks_about_images_of_every_class(images: Path, folder: Path) -> None:
    """The files of an image folder lie in the order of their classes."""
    study = study_of(images, folder)
    weak = study.settings()[0.05, 0]
    asked: list[int] = []

    def note(pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        asked.extend(labels.tolist())
        return pixels

    predicted_harm(Reference.load(weak, study.weights), note, note, images=24, draws=1)
    assert len(asked) == 2 * 24
    assert set(asked) == {0, 1, 2, 3}


def study_of(images: Path, folder: Path) -> Study:
    training = Training(steps=12, batch_size=32, precision="32-true", model_kwargs={"width": 4}, accelerator="cpu")
    measurement = Measurement(val_size=40, influence_size=8)
    return Study(str(images), folder, OPS, "none", [0.05, 1.0], 64, 2, training, measurement)


def test_the_prediction_is_zero_for_the_policy_the_reference_was_trained_with(images: Path, folder: Path) -> None:
    study = study_of(images, folder)
    weak, strong = (study.settings()[strength, 0] for strength in study.strengths)
    ask = partial(predicted_harm, Reference.load(weak, study.weights), view_maker(weak))
    before = torch.get_rng_state()
    assert not ask(view_maker(weak)).any()
    harm = ask(view_maker(strong))
    assert (harm.abs() > 0).all()
    assert torch.equal(harm, ask(view_maker(strong)))
    assert not torch.equal(harm, ask(view_maker(strong), seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_a_validation_split_without_a_class_is_told_before_anything_is_trained(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(command, "train_and_observe")
    own = Path(shutil.copytree(images, tmp_path / "images"))
    shutil.copytree(own / "test", own / "validation")
    shutil.rmtree(own / "validation" / CLASSES[3])
    with pytest.raises(SystemExit):
        main(arguments(own, tmp_path / "study"))
    assert "no image of class [3]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (["--seeds=1"], "significance is over seeds"),
        (["--strengths=[1.0,0.5]"], "increasing fractions"),
        (["--base=cutmix"], "base: cutmix mixes images"),
        (["--ops=[mixup]"], "leave mixup and cutmix out"),
        (["--classes=0"], "classes >= 1"),
        (["--damping=0"], "damping > 0"),
        (["--measurement.corruptions=[jpeg]"], "as they are"),
        (["--thresholds.vote_share=0"], "vote_share"),
        (["--thresholds.significance=1"], "significance"),
        (["--human_counts=nowhere.npy"], "no file nowhere.npy"),
        (["--human_counts={other}"], "expected .images, 4 classes."),
        (["--human_counts={fewer}"], "one row for each of 32 images"),
        (["--similarity={fewer}"], "each of 4 classes"),
        (["--similarity={pickled}"], "no .npy file of numbers"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    others: list[str],
    words: str,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(command, "train_and_observe")
    np.save(tmp_path / "other.npy", np.ones((32, 3)))
    np.save(tmp_path / "fewer.npy", np.ones((31, 4)))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    files = {name: tmp_path / f"{name}.npy" for name in ("other", "fewer", "pickled")}
    with pytest.raises(SystemExit) as end:
        main(arguments(images, tmp_path / "study", *(other.format(**files) for other in others)))
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert re.search(words, message), message
    assert not list((tmp_path / "study").glob("runs/*.json"))
