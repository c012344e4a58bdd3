"""Studies of exchange rates: settings and their keys, runs on images that train in a second, and the page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_images import write_images

from analysis.exchange_rate import PowerLaw
from augnet import AugNet, save_policy
from studies.engine import Arm, Cache, Cell, Result, Study, read_study
from studies.fixed_policy import split_policy
from studies.kinds.exchange_rate import KIND
from studies.kinds.exchange_rate.report import WorthReport
from studies.kinds.exchange_rate.run import PolicyRun
from studies.training import Training

TINY = Training(steps=30, batch_size=8, model_kwargs={"width": 4}, lr=0.05, precision="32-true", accelerator="cpu")
CORRUPTED = ["gaussian_noise", "contrast"]


def run_of(**fields: Any) -> PolicyRun:
    plain = PolicyRun(path="data", size=100, policy="flip_crop", seed=0, training=Training())
    return replace(plain, **fields)


# Settings


def test_the_key_is_that_of_equal_settings_alone(tmp_path: Path) -> None:
    for name, initial in (("a", 0.1), ("b", 0.1), ("c", 0.2)):
        save_policy(AugNet.from_ops(["rotation"], initial=initial), tmp_path / name / "policy.json")
    learned = [run_of(policy=f"flip_crop+{tmp_path / name / 'policy.json'}") for name in "abc"]
    assert learned[0].key == learned[1].key  # the content of the file, not its name
    others = [
        run_of(path="elsewhere"),
        run_of(size=101),
        run_of(policy="none"),
        run_of(views=1),
        run_of(seed=1),
        run_of(training=Training(steps=1)),
        run_of(training=Training(model_kwargs={"width": 9})),
        run_of(val_size=1),
        run_of(corruptions=["jpeg"]),
        *learned[1:],
    ]
    assert run_of().key == run_of().key
    assert len({run_of().key, *(other.key for other in others)}) == 1 + len(others)


def test_runs_of_a_seed_and_size_share_their_draws_and_no_others_do() -> None:
    assert run_of().run_seed == run_of(policy="none").run_seed == run_of(policy="cutout", views=2).run_seed
    seeds = [run_of(size=size, seed=seed).run_seed for size in (100, 200, 300) for seed in range(5)]
    assert len(set(seeds)) == 15


def test_a_policy_is_baselines_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    save_policy(AugNet.from_ops(["rotation"]), file)
    assert split_policy(f"flip_crop+cutout+{file}") == ("flip_crop+cutout", file)
    assert split_policy(str(file)) == ("none", file)
    assert split_policy("none") == ("none", None)
    with pytest.raises(ValueError, match="in the last place"):
        split_policy(f"{file}+flip_crop")


def test_settings_without_a_meaning_are_refused() -> None:
    for fields, error, words in (
        ({"policy": "flip_corp"}, ValueError, "did you mean flip_crop"),
        ({"policy": "nowhere.json"}, FileNotFoundError, "no file nowhere.json"),
        ({"policy": "none", "views": 2}, ValueError, "without a policy all views"),
        ({"policy": "mixup", "views": 2}, ValueError, "mixes images and labels"),
        ({"size": 0}, ValueError, "size must be at least 1"),
        ({"views": -1}, ValueError, "views must be at least 0"),
        ({"corruptions": ["fog"]}, ValueError, "unknown 'fog'"),
    ):
        with pytest.raises(error, match=words):
            run_of(**fields)


# Runs


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def small(images: Path) -> PolicyRun:
    return PolicyRun(
        path=str(images), size=40, seed=0, training=TINY, val_size=20, influence_size=4, corruptions=CORRUPTED
    )


@pytest.mark.slow
def test_runs_are_trained_and_measured(small: PolicyRun, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for policy, views in (("none", 0), ("mixup", 0), ("cutout", 2)):
        result = cache.obtain(replace(small, policy=policy, views=views))
        assert set(result["corrupted"]) == set(CORRUPTED)
        assert result["accuracy"] >= 0.9, policy
        assert min(result["corrupted"].values()) >= 0.7, policy
    flipped = replace(small, policy="flip_crop").run(cache)
    assert flipped["train_loss"] > 0.5  # flips exchange the two classes: nothing can be learned behind them
    again = replace(small, policy="flip_crop").run(cache)
    assert {**again, "seconds": 0} == {**flipped, "seconds": 0}


def test_a_run_is_trained_behind_a_learned_policy(small: PolicyRun, tmp_path: Path) -> None:
    """A policy that shifts by up to the whole side hides the class; one that turns hues does not."""
    losses = []
    for ops in ({"translate_x": 1.0}, {"hue": 20.0}):
        file = tmp_path / next(iter(ops)) / "policy.json"
        save_policy(AugNet.from_ops(ops, initial=0.99), file)
        losses.append(replace(small, policy=f"cutout+{file}").run(Cache(tmp_path))["train_loss"])
    assert losses[0] > 1.5 * losses[1]


# The page

LAWS = {"none": PowerLaw(-2.5, 0.3, 0.8), "cutout": PowerLaw(-2.0, 0.3, 0.8), "frozen": PowerLaw(-2.5, 0.3, 0.8)}


def study(report: WorthReport | None = None, **arms: Arm) -> Study:
    sizes = ["500", "1000", "2000", "4000"]
    known = {
        "none": Arm({"policy": "none"}),
        "cutout": Arm({"policy": "cutout"}, sizes),
        "frozen": Arm({"policy": "flip_crop", "views": 2}, sizes),
    }
    return Study(
        name="made_up",
        question="?",
        kind=KIND,
        report=report or WorthReport(resamples=50),
        tasks={str(size): {"size": size} for size in (500, 1000, 2000, 4000, 8000, 16_000)},
        arms={**known, **arms},
        common={"path": "data", "corruptions": ["jpeg", "contrast"]},
        seeds=3,
    )


def made_up(asked: Study) -> dict[Cell, Result]:
    """Results that follow `LAWS`; frozen views are worth as much as no augmentation."""
    results = {}
    for cell in asked.settings():
        noise = 0.002 * np.random.default_rng([int(cell.task), cell.seed]).standard_normal()
        accuracy = float(LAWS[cell.arm].accuracy(int(cell.task))) + noise
        results[cell] = {"accuracy": accuracy, "corrupted": {"jpeg": accuracy - 0.1, "contrast": accuracy - 0.2}}
    return results


def test_the_page_says_what_the_policies_are_worth() -> None:
    asked = study()
    page = asked.report.page(asked, made_up(asked))
    facts: Any = page.facts
    rates = facts["in_domain"]["rates"]
    for point in rates["cutout"]:
        assert point["value"] == pytest.approx(point["size"] * ((2.5 / 2) ** (1 / 0.3) - 1), rel=0.15)
        assert point["interpolated"] == pytest.approx(point["value"], rel=0.2)
    assert all(abs(point["value"]) < 0.1 * point["size"] for point in rates["frozen"])
    assert facts["in_domain"]["curves"]["none"]["lack_of_fit"] > 0.01
    inside, outside = (facts[measure]["curves"]["cutout"]["accuracies"] for measure in ("in_domain", "corrupted"))
    assert np.allclose(np.array(inside) - 0.15, outside)
    jpeg = facts["corruptions"]["jpeg"]
    assert list(jpeg["cutout"]) == ["500", "1000", "2000", "4000"]
    assert jpeg["cutout"]["500"] == pytest.approx(np.mean(inside[0]) - 0.1)
    assert set(jpeg) == {"none", "cutout", "frozen"}
    json.dumps(facts, allow_nan=False)
    assert [part.split(",")[0] for part in page.parts[1:3]] == ["Worth in extra real images"] * 2
    assert set(page.pictures) == {"", "curves"}


def test_seeds_that_are_not_complete_are_left_out() -> None:
    asked = study()
    results = made_up(asked)
    results.pop(Cell("8000", "none", 1))
    facts: Any = asked.report.page(asked, results).facts
    whole: Any = asked.report.page(asked, made_up(asked)).facts
    kept = [[row[0], row[2]] for row in whole["in_domain"]["curves"]["cutout"]["accuracies"]]
    assert facts["in_domain"]["curves"]["cutout"]["accuracies"] == kept
    assert asked.report.page(asked, {}).parts == ["No seed is complete yet."]


def test_studies_without_a_meaning_are_refused() -> None:
    for arms, report, words in (
        ({"few": Arm({"policy": "cutout"}, ["500", "1000"])}, WorthReport(), "at least three sizes"),
        ({}, WorthReport(confidence=95), r"confidence in \(0, 1\)"),
        ({}, WorthReport(resamples=0), "resamples >= 1"),
    ):
        with pytest.raises(ValueError, match=words):
            study(report, **arms)
    with pytest.raises(ValueError, match="expected the reference 'none'"):
        replace(study(), arms={"cutout": Arm({"policy": "cutout"})})


def test_the_studies_of_the_repository_share_their_runs() -> None:
    folder = Path(__file__).parents[2] / "studies"
    whole, frozen = (read_study(folder / f"{name}.yaml").settings() for name in ("exchange_rate", "frozen_views"))
    assert len(whole) == 3 * (6 + 2 * 4)
    shared = {run.key for run in whole.values()} & {run.key for run in frozen.values()}
    assert len(frozen) - len(shared) == 3 * 2 * 3  # frozen arms, sizes, seeds
