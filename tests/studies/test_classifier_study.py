"""Classifier studies: the comparison of arms, the fairness of a run, and the published pages."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from analysis.statistics import Interval
from studies.engine import Cell, Study, read_study
from studies.engine.cache import Cache
from studies.engine.interval_text import difference_text, interval_text
from studies.engine.results import published_seeds, read_results
from studies.engine.study import Arm, Results
from studies.kinds.classifier import KIND, ClassifierReport, ClassifierRun
from studies.kinds.classifier.comparison import TaskTable, compare, paired
from studies.kinds.classifier.comparison_tables import verdicts
from studies.kinds.classifier.data import Data
from studies.training import Training

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "studies" / "results"
DIGITS = Data(image_size=8, influence_size=100, val_size=100, test_size=200)
BRIEF = Training(steps=12, batch_size=64, model_kwargs={"width": 2}, precision="32-true", accelerator="cpu")
FIXED: Mapping[str, Any] = {"model": {"control": "plain"}}
LEARNED: Mapping[str, Any] = {"model": {"ops": ["rotation"]}, "influence_source": "held_out"}


def result(test: float, **others: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {"clean": None, "validation": 0.5, "training": 1.0, "train_loss": 0.1, "policy": None}
    return {**blank, "seconds": 1.0, "made": {"torch": "2"}, "test": test, **others}


def study_of(arms: Mapping[str, Mapping[str, Any]], task: Mapping[str, Any] | None = None, **options: Any) -> Study:
    seeds = options.pop("seeds", 5)
    report = ClassifierReport(**{"rival": next(iter(arms)), **options})
    return Study("toy", "?", KIND, report, {"task": task or {}}, {k: Arm(v) for k, v in arms.items()}, {}, seeds)


def report_of(study: Study) -> ClassifierReport:
    assert isinstance(study.report, ClassifierReport)
    return study.report


def table_of(study: Study, results: Results) -> TaskTable:
    report = report_of(study)
    return compare(study, report.selections, report.rival, results, "task")


def run_of(**fields: Any) -> ClassifierRun:
    return ClassifierRun(data=DIGITS, training=BRIEF, **{"seed": 0, **fields})


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
    (row,) = table_of(study, runs).rows
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
    rows = {row.arm: row for row in table_of(study, runs).rows}
    assert set(rows) == {"none", "new", "either"}
    assert report_of(study).selections.role(study, "task", "either") == "learned"
    assert rows["either"].test.value == pytest.approx(60.0)
    assert rows["either"].against is not None
    assert rows["either"].against.value == pytest.approx(10.0)  # against none
    assert rows["either"].seconds == 2.0


def test_the_rival_is_the_best_fixed_arm() -> None:
    study = study_of({"a": FIXED, "b": FIXED, "new": LEARNED}, seeds=2)
    values = {"a": (0.5, 0.6), "b": (0.6, 0.7), "new": (0.8, 0.8)}
    runs = {Cell("task", arm, seed): result(value) for arm, both in values.items() for seed, value in enumerate(both)}
    table = table_of(study, runs)
    assert table.best_fixed == "b"
    against = {row.arm: row.against for row in table.rows}
    assert against["b"] is None
    assert against["new"] is not None
    assert against["new"].value == pytest.approx(15.0)
    assert verdicts([table]).rows == [["new", "1", "0", "0", "1", "+15.0"]]  # two seeds prove nothing


def test_what_was_planted_is_looked_for_in_its_classes() -> None:
    task = {"change": "deployment", "options": {"except_classes": [1]}}
    study = study_of({"new": LEARNED}, task, truth={"task": {"rotation": 60.0}}, seeds=1)
    policy = {
        "rotation": {"half_width": 40.0, "half_widths": [50.0, 10.0, 60.0], "bound": 90.0},
        "scale": {"half_width": 0.2, "half_widths": [0.1, 0.2, 0.3], "bound": 1.0},
    }
    turning, spared = report_of(study).recoveries(study, {Cell("task", "new", 0): result(0.5, policy=policy)}, "task")
    assert (turning.found.value, turning.truth) == (55.0, 60.0)
    assert (spared.found.value, spared.truth) == (10.0, 0.0)
    assert turning.largest_other == pytest.approx(0.2)


def test_a_choice_between_ranges_and_a_mixture_has_no_ranges() -> None:
    study = study_of({"none": FIXED, "new": LEARNED}, truth={"task": {"rotation": 45.0}})
    ranges = {"rotation": {"half_width": 30.0, "bound": 90.0}}
    mixture = {"rotation": {"probability": 0.5, "strength": 30.0, "bound": 90.0}}
    runs = {Cell("task", "new", seed): result(0.5, policy=policy) for seed, policy in enumerate((ranges, mixture))}
    report = report_of(study)
    assert report.recoveries(study, runs, "task") == []
    assert report.recoveries(study, {Cell("task", "new", 0): result(0.5, policy=ranges)}, "task")


@pytest.mark.slow
def test_arms_train_on_what_they_may(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fits: list[tuple[int, bool]] = []
    fit = ClassifierRun.fit

    def spy(run: ClassifierRun) -> Any:
        fitted = fit(run)
        fits.append((len(fitted.data.training_images), fitted.model.learner is not None))
        return fitted

    monkeypatch.setattr(ClassifierRun, "fit", spy)
    task: dict[str, Any] = {"change": "deployment", "options": {"planted": "rotation", "magnitude": 45.0}}
    learning = {"ops": ["rotation"], "learner": {"warmup": 2, "interval": 2}}
    learned = run_of(model=learning, influence_source="held_out", retrain=True, **task)
    found = [run.run(Cache(tmp_path)) for run in (run_of(**FIXED, **task), learned)]
    rest = 1797 - 100 - 100 - 200
    assert fits == [(rest + 100, False), (rest, True), (rest + 100, False)]
    assert found[0]["policy"] is None
    assert found[1]["policy"]["rotation"]["half_width"] != pytest.approx(9.0)  # where it starts
    assert all(0 <= run[name] <= 1 for run in found for name in ("test", "clean", "validation", "training"))


def test_all_arms_of_a_seed_start_from_the_same_weights() -> None:
    starts = []
    mixture = {"model": {"ops": ["rotation", "scale"], "policy": "mixture"}, "influence_source": "held_out"}
    for arm in (FIXED, LEARNED, mixture):
        run = replace(run_of(**{**arm, "seed": 4}), training=replace(BRIEF, steps=1, lr=1e-30))
        starts.append(next(run.fit().model.network.parameters()).detach().clone())
    assert torch.equal(starts[0], starts[1])
    assert torch.equal(starts[0], starts[2])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**FIXED, "influence_source": "held_out"}, "fixed arms, and they alone, `train` on the influence set"),
        ({"model": {"ops": ["rotation"]}}, "fixed arms, and they alone, `train` on the influence set"),
        ({**FIXED, "retrain": True}, "expected an arm that learns"),
        ({"model": {"policy_file": "x.json"}, "influence_source": "held_out"}, "leave it out"),
    ],
)
def test_arms_that_would_not_be_fair(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_of(**fields).check()


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
        ({"truth": {"x": {}}}, "truth: there is no task 'x'"),
    ],
)
def test_studies_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study_of({"a": FIXED, "b": FIXED}, **options)


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


@cache
def measured(name: str) -> tuple[Study, Results]:
    study = read_study(ROOT / "studies" / f"{name}.yaml")
    study = replace(study, seeds=max(study.seeds, published_seeds(study, RESULTS)))
    return study, read_results(study, RESULTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_the_accuracies_of_the_evidence_are_those_that_were_measured(name: str) -> None:
    study, results = measured(name)
    tables = report_of(study).tables(study, results)
    assert tables
    for table in tables:
        rows = {row.arm: row for row in table.rows}
        last = rows[SHOWN[name][-1]]
        shown = (interval_text(rows[arm].test) if arm in rows else "-" for arm in SHOWN[name])
        cells = [table.task, str(len(last.by_seed)), *shown]
        assert f"| {' | '.join(cells)} | {difference_text(last.against)} |" in EVIDENCE


@pytest.mark.slow
def test_the_ranges_of_the_evidence_are_those_that_were_found() -> None:
    study, results = measured("planted")
    for task in study.tasks:
        for one in report_of(study).recoveries(study, results, task):
            cells = [
                task,
                one.arm,
                one.op,
                f"{one.truth:g}",
                interval_text(one.found, 2),
                f"{100 * one.largest_other:.0f}",
            ]
            assert one.arm not in FOUND or f"| {' | '.join(cells)} |" in EVIDENCE


def against_best_fixed(name: str, arm: str, without: str | None = None) -> list[Interval]:
    """An arm minus the best fixed arm in each task of a study, of which an arm may be left out."""
    study, results = measured(name)
    left = {one: setting for one, setting in study.arms.items() if one != without}
    tables = report_of(study).tables(replace(study, arms=left), results)
    return [row.against for table in tables for row in table.rows if row.arm == arm and row.against]


@pytest.mark.slow
def test_the_summary_of_the_evidence_is_that_of_the_studies() -> None:
    summary = (ROOT / "docs" / "evidence.md").read_text().split("## How it is measured")[0]

    def mean(found: list[Interval]) -> str:
        return f"{sum(one.value for one in found) / len(found):+.1f}"

    def above_zero(found: list[Interval]) -> int:
        assert all(one.high is not None and one.high >= 0 for one in found)
        return sum(one.low is not None and one.low > 0 for one in found)

    chosen, intervals, mixture = (
        against_best_fixed("shift", arm)
        for arm in ("learned, chosen by validation", "learned intervals", "learned mixture")
    )
    lowest, highest = (f"{end(one.value for one in chosen):+.1f}" for end in (min, max))
    alone = against_best_fixed("shift", "learned intervals", without="uniform mixture")
    (clean,) = against_best_fixed("clean", "learned intervals")
    (full,) = against_best_fixed("clean_full", "learned intervals, nothing in front")
    dirty, repeated = against_best_fixed("dirty", "learned weights")
    cast = [against_best_fixed("hostile", arm)[1] for arm in ("learned intervals", "learned, chosen by validation")]
    planted = [f"{one.value:+.1f}" for one in against_best_fixed("planted", "learned class ranges, probed")]
    for words in (
        f"{mean(chosen)} in the mean, {lowest} to {highest} in single tasks",
        f"in single tasks; interval above zero in {above_zero(chosen)} of 7, below in none",
        f"intervals {mean(intervals)} (above zero in {above_zero(intervals)} of 7)",
        f"mixture {mean(mixture)} ({above_zero(mixture)} of 7)",
        f"intervals {mean(intervals)} with it, {mean(alone)} without it",
        f"{planted[1]} to {planted[3]} in three tasks, {planted[2]} in one",
        f"{difference_text(dirty)}; {difference_text(repeated)} where rare classes are repeated by hand",
        f"CIFAR-10, 4,000 images, 5 seeds | {difference_text(clean)} |",
        f"CIFAR-10, 49,000 images, 1 seed | {difference_text(full)};",
        f"{difference_text(cast[0])}; chosen by validation {difference_text(cast[1])}",
    ):
        assert words in summary
