"""The study of accuracy: what its tasks do to real images, what it compares, and that it never trains twice."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from scipy import stats
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

import benchmarks.accuracy.__main__ as command
from analysis.exchange_rate.run_cache import RunCache
from analysis.exchange_rate.setting import Training
from benchmarks.accuracy import training
from benchmarks.accuracy.comparison import compare, paired, recoveries
from benchmarks.accuracy.page import difference_text, interval_text, page, tables_of, verdicts
from benchmarks.accuracy.settings import Arm, Data, Setting, Task
from benchmarks.accuracy.shifts import shifted
from benchmarks.accuracy.study import Cell, Study
from benchmarks.accuracy.tasks import TaskData, colour_cast, data_set, dirt, noise_level
from benchmarks.accuracy.training import train_and_test
from lightning_modules.data import LabelledImages, MemoryStore, Splits

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "benchmarks" / "accuracy" / "studies").glob("*.yaml"))
DIGITS = Data(image_size=8, influence_size=100, val_size=100, test_size=200)
BRIEF = Training(steps=12, batch_size=64, model_kwargs={"width": 2}, precision="32-true", accelerator="cpu")


def digits(change: str, **options: Any) -> TaskData:
    return TaskData(data_set(DIGITS, 3), Task(change, options), seed=3)  # type: ignore[arg-type]


def result(test: float, **others: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {"clean": None, "validation": 0.5, "training": 1.0, "train_loss": 0.1, "policy": None}
    blank |= {"seconds": 1.0, "versions": {"torch": "2"}}
    return {**blank, "test": test, **others}


def study_of(arms: Mapping[str, Arm], **others: Any) -> Study:
    task = Task(**others.pop("task", {}))
    return Study("?", DIGITS, {"task": task}, dict(arms), BRIEF, **{"rival": next(iter(arms)), **others})


FIXED, LEARNED = Arm({"control": "plain"}), Arm({"ops": ["rotation"]}, "held_out")


def test_deployment_changes_all_but_the_training_images() -> None:
    data, before = digits("deployment", planted="rotation", magnitude=45.0), data_set(DIGITS, 3).splits
    assert torch.equal(data.splits.train.everything()[0], before.train.everything()[0])
    for name in ("influence", "validation"):
        (images, labels), (old, old_labels) = (getattr(s, name).everything() for s in (data.splits, before))
        assert torch.equal(labels, old_labels)
        assert (images != old).flatten(1).any(dim=1).float().mean() > 0.95
    assert (data.splits.load_test().everything()[0] != before.load_test().everything()[0]).any()
    assert data.splits.deployment


def test_a_planted_rotation_is_torchvisions() -> None:
    before = data_set(DIGITS, 3).splits.influence
    images, _ = before.everything()
    after, _ = shifted(before, 5, planted="rotation", magnitude=30.0).everything()
    angles = torch.linspace(-30, 30, 241).tolist()
    for image, turned in zip(images[:4], after[:4], strict=True):
        candidates = [functional.rotate(image, angle, InterpolationMode.BILINEAR) for angle in angles]
        nearest = min((candidate - turned).abs().mean() for candidate in candidates)
        assert nearest < 0.01 < (image - turned).abs().mean()


def test_classes_that_are_spared_stay_as_they_are() -> None:
    before = data_set(DIGITS, 3).splits.influence
    images, labels = before.everything()
    after, _ = shifted(before, 5, planted="rotation", magnitude=60.0, except_classes=[6, 9]).everything()
    changed = (after - images).abs().flatten(1).amax(dim=1) > 1 / 255
    spared = (labels == 6) | (labels == 9)
    assert not changed[spared].any()
    assert changed[~spared].float().mean() > 0.95


def test_each_image_of_a_mix_has_one_of_the_corruptions() -> None:
    before = data_set(DIGITS, 3).splits.influence
    images, _ = before.everything()
    after, _ = shifted(before, 5, corruptions=["brightness", "contrast"], severity=5).everything()
    brighter = (after - (images + 0.4).clamp(max=1)).abs().flatten(1).amax(dim=1) < 0.01
    assert 0.3 < brighter.float().mean() < 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "give planted .*rotation.* or corruptions .*contrast"), ({"planted": "turn"}, "unknown 'turn'; known are")],
)
def test_shifts_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shifted(data_set(DIGITS, 3).splits.influence, 0, **options)


def test_dirt_leaves_classes_unequal_and_labels_wrong() -> None:
    labels = torch.arange(10).repeat(400)
    images = MemoryStore(labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous())  # show their class
    clean = LabelledImages(images, labels)
    splits = Splits(clean, clean, clean, lambda: clean, tuple(map(str, range(10))))
    dirty = dirt(splits, 0, imbalance=10.0, noise=0.1)
    shown = (dirty.train.everything()[0][:, 0, 0, 0] * 255).round().long()
    counts = shown.bincount().tolist()
    assert counts == [round(400 * 10 ** (-k / 9)) for k in range(10)]
    wrong = (shown != dirty.train.labels).double().mean().item()
    assert stats.binomtest(round(wrong * len(shown)), len(shown), 0.1).pvalue > 0.01
    assert torch.equal(dirty.influence.labels, labels)


def test_repeated_classes_are_as_large_as_the_largest_and_as_dirty_as_before() -> None:
    labels = torch.arange(4).repeat(100)
    numbers = torch.arange(400)  # an image shows its number
    images = MemoryStore(torch.stack([numbers // 256, numbers % 256], dim=1).to(torch.uint8).view(-1, 2, 1, 1))
    clean = LabelledImages(images, labels)
    splits = Splits(clean, clean, clean, lambda: clean, tuple("abcd"))
    before, after = (dirt(splits, 0, imbalance=10.0, noise=0.1, repeated=each).train for each in (False, True))

    def rows_of(label: int, dataset: LabelledImages) -> list[int]:
        high, low = (dataset.everything()[0][dataset.labels == label][:, :, 0, 0] * 255).round().long().unbind(1)
        return (high * 256 + low).tolist()

    for label in range(4):
        once, often = rows_of(label, before), Counter(rows_of(label, after))
        assert set(often) == set(once)
        assert often.total() == before.labels.bincount().max()
        assert max(often.values()) - min(often.values()) <= 1


def test_quarter_turns_turn_back_to_the_images() -> None:
    data, before = digits("quarter_turns"), data_set(DIGITS, 3).splits
    assert data.num_classes == 4
    images, turns = data.splits.train.everything()
    assert turns.bincount().max() - turns.bincount().min() <= 1
    back = torch.stack([torch.rot90(image, -int(turn), (1, 2)) for image, turn in zip(images, turns, strict=True)])
    assert torch.allclose(back, before.train.everything()[0], atol=1 / 255)


def test_a_cast_is_a_gain_of_one_channel() -> None:
    grey = LabelledImages(MemoryStore(torch.full((60, 3, 2, 2), 100, dtype=torch.uint8)), torch.zeros(60).long())
    cast = colour_cast(Splits(grey, grey, grey, lambda: grey, ("any",)), 0, stops=0.5)
    assert len(cast.class_names) == 6
    images, labels = cast.train.everything()
    assert labels.bincount().tolist() == [10] * 6
    for image, label in zip(images, labels.tolist(), strict=True):
        expected = torch.full((3,), 100 / 255)
        expected[label // 2] *= 2 ** (-0.5 if label % 2 else 0.5)
        assert torch.allclose(image[:, 0, 0], expected, atol=1 / 255)


def test_the_class_is_the_standard_deviation_of_the_noise() -> None:
    grey = LabelledImages(MemoryStore(torch.full((40, 3, 16, 16), 128, dtype=torch.uint8)), torch.zeros(40).long())
    noisy = noise_level(Splits(grey, grey, grey, lambda: grey, ("any",)), 0, levels=[0.02, 0.05, 0.1, 0.15])
    assert noisy.class_names == ("0.02", "0.05", "0.1", "0.15")
    for split in (noisy.train, noisy.influence, noisy.validation, noisy.load_test()):
        images, labels = split.everything()
        assert labels.bincount().tolist() == [10] * 4
        for label, level in enumerate((0.02, 0.05, 0.1, 0.15)):
            assert images[labels == label].std().item() == pytest.approx(level, rel=0.05)
    assert not torch.equal(noisy.train.everything()[0], noisy.influence.everything()[0])


def test_differences_are_paired_t_intervals() -> None:
    one, other = [0.81, 0.84, 0.79, 0.9], [0.8, 0.82, 0.75, 0.89]
    found = paired(*({seed: result(value) for seed, value in enumerate(values)} for values in (one, other)))
    expected = stats.ttest_rel(one, other)
    bounds = expected.confidence_interval(0.95)
    assert found is not None
    assert found == pytest.approx((100 * (sum(one) - sum(other)) / 4, 100 * bounds.low, 100 * bounds.high))


def test_seeds_that_one_arm_lacks_are_left_out_of_the_difference() -> None:
    found = paired({0: result(0.5), 1: result(0.7), 2: result(0.1)}, {0: result(0.4), 1: result(0.5)})
    assert found is not None
    assert found.value == pytest.approx(15.0)
    assert paired({0: result(0.5)}, {1: result(0.5)}) is None


def test_a_tuned_arm_is_chosen_by_validation_not_by_test() -> None:
    study = study_of({"weak": FIXED, "strong": FIXED}, tuned={"best": ["weak", "strong"]}, rival="best", seeds=1)
    runs = {
        Cell("task", "weak", 0): result(0.9, validation=0.1),
        Cell("task", "strong", 0): result(0.2, validation=0.8),
    }
    (row,) = compare(study, runs, "task").rows
    assert row.arm == "best"
    assert row.test.value == pytest.approx(20.0)
    assert row.seconds == 2.0  # both were trained
    assert row.against is row.against_rival is None


def test_what_is_chosen_by_validation_stands_beside_its_arms() -> None:
    study = study_of({"none": FIXED, "new": LEARNED}, chosen={"either": ["new", "none"]}, seeds=2)
    runs = {
        Cell("task", "none", 0): result(0.5, validation=0.6),
        Cell("task", "new", 0): result(0.4, validation=0.5),  # does harm, and validation says so
        Cell("task", "none", 1): result(0.5, validation=0.5),
        Cell("task", "new", 1): result(0.7, validation=0.8),
    }
    rows = {row.arm: row for row in compare(study, runs, "task").rows}
    assert set(rows) == {"none", "new", "either"}
    assert study.kind("either") == "learned"
    assert rows["either"].test.value == pytest.approx(60.0)
    assert rows["either"].against is not None
    assert rows["either"].against.value == pytest.approx(10.0)  # against none
    assert rows["either"].seconds == 2.0


def test_the_rival_is_the_best_fixed_arm() -> None:
    study = study_of({"a": FIXED, "b": FIXED, "new": LEARNED}, seeds=2)
    values = {"a": (0.5, 0.6), "b": (0.6, 0.7), "new": (0.8, 0.8)}
    runs = {Cell("task", arm, seed): result(value) for arm, both in values.items() for seed, value in enumerate(both)}
    table = compare(study, runs, "task")
    assert table.best_fixed == "b"
    against = {row.arm: row.against for row in table.rows}
    assert against["b"] is None
    assert against["new"] is not None
    assert against["new"].value == pytest.approx(15.0)
    assert verdicts([table]).rows == [["new", "1", "0", "0", "1", "+15.0"]]  # two seeds prove nothing


def test_what_was_planted_is_looked_for_in_its_classes() -> None:
    task = {"change": "deployment", "options": {"except_classes": [1]}, "truth": {"rotation": 60.0}}
    study = study_of({"new": LEARNED}, task=task, seeds=1)
    policy = {
        "rotation": {"half_width": 40.0, "half_widths": [50.0, 10.0, 60.0], "bound": 90.0},
        "scale": {"half_width": 0.2, "half_widths": [0.1, 0.2, 0.3], "bound": 1.0},
    }
    turning, spared = recoveries(study, {Cell("task", "new", 0): result(0.5, policy=policy)}, "task")
    assert (turning.found.value, turning.truth) == (55.0, 60.0)
    assert (spared.found.value, spared.truth) == (10.0, 0.0)
    assert turning.largest_other == pytest.approx(0.2)


def test_a_choice_between_ranges_and_a_mixture_has_no_ranges() -> None:
    study = study_of({"none": FIXED, "new": LEARNED}, task={"truth": {"rotation": 45.0}})
    ranges = {"rotation": {"half_width": 30.0, "bound": 90.0}}
    mixture = {"rotation": {"probability": 0.5, "strength": 30.0, "bound": 90.0}}
    runs = {Cell("task", "new", seed): result(0.5, policy=policy) for seed, policy in enumerate((ranges, mixture))}
    assert recoveries(study, runs, "task") == []
    assert recoveries(study, {Cell("task", "new", 0): result(0.5, policy=ranges)}, "task")


def test_arms_train_on_what_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[tuple[int, bool]] = []

    def spy(setting: Setting, arm: Arm) -> Any:
        trainer, model, data, seconds = fit(setting, arm)
        fits.append((len(data.training_images), model.learns))
        return trainer, model, data, seconds

    fit = training._fit
    monkeypatch.setattr(training, "_fit", spy)
    task = Task("deployment", {"planted": "rotation", "magnitude": 45.0})
    learned = Arm({"ops": ["rotation"], "learner": {"warmup": 2, "interval": 2}}, "held_out", retrain=True)
    found = [train_and_test(Setting(task, DIGITS, arm, BRIEF, 0)) for arm in (FIXED, learned)]
    rest = 1797 - 100 - 100 - 200
    assert fits == [(rest + 100, False), (rest, True), (rest + 100, False)]
    assert found[0]["policy"] is None
    assert found[1]["policy"]["rotation"]["half_width"] != pytest.approx(9.0)  # where it starts
    assert all(0 <= run[name] <= 1 for run in found for name in ("test", "clean", "validation", "training"))


def test_all_arms_of_a_seed_start_from_the_same_weights() -> None:
    starts = []
    for arm in (FIXED, LEARNED, Arm({"ops": ["rotation", "scale"], "policy": "mixture"}, "held_out")):
        _, model, _, _ = training._fit(Setting(Task(), DIGITS, arm, replace(BRIEF, steps=1, lr=1e-30), 4), arm)
        starts.append(next(model.network.parameters()).detach().clone())
    assert torch.equal(starts[0], starts[1])
    assert torch.equal(starts[0], starts[2])


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (Arm({"control": "plain"}, "held_out"), "fixed arms, and they alone, train on the influence set"),
        (Arm({"ops": ["rotation"]}), "fixed arms, and they alone, train on the influence set"),
        (Arm({"control": "plain"}, retrain=True), "retrain is for arms that learn"),
        (Arm({"policy_file": "x.json"}, "held_out"), "leave it out"),
    ],
)
def test_arms_that_would_not_be_fair(arm: Arm, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arm.check("new")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuned": {"x": []}}, "at least one arm"),
        ({"tuned": {"a": ["b"]}}, "a name of its own"),
        ({"tuned": {"x": ["a"], "y": ["a"]}}, "no arm twice"),
        ({"tuned": {"x": ["c"]}}, "there is no arm 'c'"),
        ({"chosen": {"x": ["c"]}}, "there is no arm 'c'"),
        ({"chosen": {"a": ["b"]}}, "a name of its own"),
        ({"chosen": {"x": []}}, "at least one arm"),
        ({"rival": "c"}, "rival: there is no arm 'c'"),
        ({"rival": "a", "tuned": {"x": ["a"]}}, "one of several that are tuned"),
    ],
)
def test_studies_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study_of({"a": FIXED, "b": FIXED}, **options)


def test_a_failure_leaves_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of({"a": FIXED, "b": FIXED}, seeds=1)

    def fail(setting: Setting) -> dict[str, Any]:
        if setting.arm.model.get("base_policy"):
            raise RuntimeError("lost")
        return result(0.5)

    study = replace(study, arms={"a": FIXED, "b": Arm({"control": "plain", "base_policy": "flip_crop"})})
    monkeypatch.setattr(command, "train_and_test", fail)
    with pytest.raises(RuntimeError, match="lost"):
        command.accuracy("toy", study, folder=tmp_path / "runs", output=tmp_path / "out", workers=1, progress=False)
    assert [run["arm"] for run in json.loads((tmp_path / "out" / "toy.json").read_text())["runs"]] == ["a"]


def test_a_second_call_trains_nothing_not_even_in_a_fresh_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "toy.yaml"
    study = {
        "question": "Toy?",
        "data": {"image_size": 8, "influence_size": 100, "val_size": 100, "test_size": 200},
        "seeds": 2,
        "rival": "none",
        "training": {"steps": 5, "batch_size": 64, "precision": "32-true", "accelerator": "cpu"},
        "tasks": {"as they are": {}},
        "arms": {
            "none": {"model": {"control": "plain"}},
            "learned": {"model": {"ops": ["rotation"]}, "influence_set": "held_out"},
        },
    }
    config.write_text(yaml.safe_dump({"name": "toy", "study": study}))

    def call(folder: str) -> None:
        arguments = {"folder": tmp_path / folder, "output": tmp_path / "out", "workers": 1, "progress": "false"}
        command.main([f"--config={config}", *(f"--{name}={value}" for name, value in arguments.items())])

    call("runs")
    written = [(tmp_path / "out" / f"toy.{kind}").read_bytes() for kind in ("json", "md", "png")]
    assert len(json.loads(written[0])["runs"]) == 4

    def refuse(setting: Setting) -> dict[str, Any]:
        raise AssertionError(f"trained {setting} again")

    monkeypatch.setattr(command, "train_and_test", refuse)
    call("runs")
    call("elsewhere")
    assert [(tmp_path / "out" / f"toy.{kind}").read_bytes() for kind in ("json", "md")] == written[:2]
    assert "as they are" in capsys.readouterr().out


def test_another_setting_is_another_run(tmp_path: Path) -> None:
    setting = Setting(Task(), DIGITS, FIXED, BRIEF, 0)
    RunCache(tmp_path).write(setting, result(0.5))
    assert RunCache(tmp_path).has(Setting(Task(), DIGITS, FIXED, BRIEF, 0))
    for other in (
        Setting(Task("quarter_turns"), DIGITS, FIXED, BRIEF, 0),
        Setting(Task(), DIGITS, LEARNED, BRIEF, 0),
        Setting(Task(), DIGITS, FIXED, BRIEF, 1),
    ):
        assert not RunCache(tmp_path).has(other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "[nobody]"], "there is no arm 'nobody'; known are none"),
        (["--tasks", "[x]"], "there is no task 'x'"),
        (["--seeds", "0"], "at least one task, one arm and one seed"),
    ],
)
def test_mistakes_are_said_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = ROOT / "benchmarks" / "accuracy" / "studies" / "planted.yaml"
    with pytest.raises(SystemExit):
        command.main([f"--config={planted}", f"--folder={tmp_path}", f"--output={tmp_path}", *arguments])
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_studies_can_be_built(file: Path) -> None:
    study = command.study_of(file)
    assert {study.kind(arm) for arm in study.arms} >= {"fixed", "learned"}
    for cell, setting in study.settings().items():
        if cell.seed == 0:
            setting.arm.check(cell.arm)


RESULTS = sorted((ROOT / "benchmarks" / "results" / "accuracy").glob("*.json"))


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_the_page_of_a_study_is_made_from_its_json(file: Path) -> None:
    study = command.study_of(ROOT / "benchmarks" / "accuracy" / "studies" / f"{file.stem}.yaml")
    study = replace(study, seeds=command.seeds_of(file))
    made = page(study, command.results_of(file), command.command_of(file.stem))
    assert file.with_suffix(".md").read_text() == made
    assert tables_of(study, command.results_of(file))


EVIDENCE = "".join((ROOT / "docs" / page).read_text() for page in ("evidence.md", "appendix_studies.md"))
SHOWN = {
    "planted": ["none", "TrivialAugment-Wide", "learned ranges, probed", "learned class ranges, probed"],
    "shift_width_16": ["flip + crop", "TrivialAugment-Wide", "learned ranges"],
    "shift": [
        "flip + crop",
        "TrivialAugment-Wide",
        "uniform mixture",
        "learned intervals",
        "learned mixture",
        "learned, chosen by validation",
    ],
    "shift_long": ["flip + crop", "TrivialAugment-Wide", "uniform mixture", "learned intervals"],
    "dirty": ["flip + crop", "RandAugment, tuned", "learned weights"],
    "clean": ["none", "flip + crop", "TrivialAugment-Wide", "learned intervals"],
    "clean_wrn": ["flip + crop", "TrivialAugment-Wide", "learned intervals"],
    "clean_full": [
        "none",
        "flip + crop",
        "TrivialAugment-Wide",
        "learned intervals",
        "learned intervals, nothing in front",
    ],
    "hostile": ["none", "TrivialAugment-Wide", "learned intervals", "learned, chosen by validation"],
}
FOUND = ["learned ranges", "learned ranges, probed", "learned class ranges, probed", "learned ranges, sparsity 0"]


def measured(name: str) -> tuple[Study, dict[Cell, dict[str, Any]]]:
    file = ROOT / "benchmarks" / "results" / "accuracy" / f"{name}.json"
    study = command.study_of(ROOT / "benchmarks" / "accuracy" / "studies" / f"{name}.yaml")
    return replace(study, seeds=command.seeds_of(file)), command.results_of(file)


@pytest.mark.parametrize("name", SHOWN)
def test_the_accuracies_of_the_evidence_are_those_that_were_measured(name: str) -> None:
    for table in tables_of(*measured(name)):
        rows = {row.arm: row for row in table.rows}
        last = rows[SHOWN[name][-1]]
        shown = (interval_text(rows[arm].test) if arm in rows else "-" for arm in SHOWN[name])
        cells = [table.task, str(len(last.by_seed)), *shown]
        assert f"| {' | '.join(cells)} | {difference_text(last.against)} |" in EVIDENCE


def test_the_ranges_of_the_evidence_are_those_that_were_found() -> None:
    study, results = measured("planted")
    for task in study.tasks:
        for one in recoveries(study, results, task):
            cells = [
                task,
                one.arm,
                one.op,
                f"{one.truth:g}",
                interval_text(one.found, 2),
                f"{100 * one.largest_other:.0f}",
            ]
            assert one.arm not in FOUND or f"| {' | '.join(cells)} |" in EVIDENCE
