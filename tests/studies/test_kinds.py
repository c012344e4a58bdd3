"""Kinds of studies that call commands: what they ask for, what they share, and a tiny study from end to end."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from scipy import stats
from sklearn.metrics import average_precision_score

import studies.__main__ as command
from lightning_modules.data import DigitsDataModule
from studies.engine import Arm, Cache, Cell, Column, Kind, Study, TableReport
from studies.kinds import adaptation, fit, mislabelled
from studies.kinds.adaptation import AdaptationRun
from studies.kinds.fit import FitRun
from studies.kinds.large_batch import LargeBatchRun
from studies.kinds.logistic_regression import LogisticRun
from studies.kinds.mislabelled import ScoreRun
from studies.kinds.moments import tables
from studies.label_noise import ranking_quality


class Calls(list[tuple[str, dict[str, Any]]]):
    """Commands that were asked for, each of which leaves a summary."""

    def __call__(self, name: str, config: Path, options: Mapping[str, Any]) -> None:
        self.append((name, dict(options)))
        folder = Path(options["folder"] if "folder" in options else options["run.folder"] / options["run.name"])
        folder.mkdir(parents=True, exist_ok=True)
        summary = {"test": 0.5, "test_accuracy": {"plain": 0.75}, "ranges": {}, "seconds": 3.0}
        (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    asked = Calls()
    for module in (adaptation, fit, mislabelled):
        monkeypatch.setattr(module, "call", asked)
    return asked


def adaptation_of(change: Any, method: Any, **fields: Any) -> AdaptationRun:
    return AdaptationRun(change=change, method=method, **fields)


def test_adaptations_share_the_trainings_they_start_from(tmp_path: Path, calls: Calls) -> None:
    cache = Cache(tmp_path)
    cells = [("remove", "none"), ("remove", "retrain"), ("remove", "k_prior"), ("add", "none"), ("add", "retrain")]
    shared: dict[str, Any] = {"data": "owner/name", "train_size": 50, "epochs": 7, "seed": 3}
    runs = {pair: adaptation_of(*pair, **shared) for pair in [*cells, ("add", "replay")]}
    results = {names: cache.obtain(run) for names, run in runs.items()}
    assert [name for name, _ in calls] == ["fit", "adapt", "adapt", "adapt"]  # not once for every cell
    _, retrain, prior, replay = (options for _, options in calls)
    whole, part = (
        cache.files(run) / "run" / "checkpoints" / "last.ckpt"
        for run in (runs["add", "none"].whole, runs["remove", "retrain"])
    )
    assert (retrain["ckpt_path"], prior["ckpt_path"], replay["ckpt_path"]) == (whole, whole, part)
    assert (retrain["lr"], retrain["trainer.max_epochs"], prior["lr"], prior["trainer.max_epochs"]) == (
        None,
        7,
        0.02,
        4,
    )
    rows = [Path(options[f"change.{change}"]).read_text() for options, change in ((prior, "remove"), (replay, "add"))]
    assert rows[0] == rows[1]  # what is added was left out
    assert len(set(rows[0].split())) == 5
    found = {names: (run["test"], run["seconds"]) for names, run in results.items()}
    assert found["remove", "none"] == (0.75, 0.0)
    assert found["remove", "retrain"] == found["remove", "k_prior"] == (0.5, 3.0)
    assert found["add", "none"] == (0.5, 0.0)
    assert found["add", "retrain"] == (0.75, 3.0)


def test_scores_of_one_network_are_made_once(tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    flipped = torch.arange(40) % 4 == 0
    monkeypatch.setattr(mislabelled.AttributionRun, "flipped", lambda run: flipped)
    columns = {"loss": flipped.double(), "margin": 0.5 - flipped.double()}
    monkeypatch.setattr(mislabelled.AttributionRun, "column", lambda run, cache, name: columns[name])
    cache = Cache(tmp_path)
    training = ScoreRun(data="owner/name", train_size=40, score="loss", seed=0).training
    cache.obtain(training)
    (cache.files(training) / "run" / "metrics.csv").write_text("val/acc\n\n0.25\n0.5\n")
    shared: dict[str, Any] = {"data": "owner/name", "train_size": 40, "seed": 0}
    scores: list[dict[str, Any]] = [{"score": "loss"}, {"score": "margin", "worst": "low"}, {"score": "margin"}]
    found = [cache.obtain(ScoreRun(**shared, **score)) for score in scores]
    assert [name for name, _ in calls] == ["fit", "attribute"]
    assert [run["average_precision"] for run in found[:2]] == [1.0, 1.0]
    assert found[2]["recall"] == 0.0
    facts = {name: found[0][name] for name in ("val_accuracy", "clean_labels_fitted", "flipped_labels_fitted")}
    assert facts == {"val_accuracy": 0.5, "clean_labels_fitted": 1.0, "flipped_labels_fitted": 0.0}


def test_the_quality_of_a_ranking_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    score, flipped = torch.rand(200, generator=generator), torch.rand(200, generator=generator) < 0.1
    found = ranking_quality(score, flipped)
    assert found["average_precision"] == pytest.approx(average_precision_score(flipped.numpy(), score.numpy()))
    assert found["recall"] == pytest.approx(float(flipped[score.topk(10).indices].sum() / flipped.sum()))
    assert found["curve"][-1] == pytest.approx([1.0, float(flipped.double().mean()), 1.0], abs=1e-5)


def test_a_memory_of_everything_is_refitting(tmp_path: Path) -> None:
    methods: list[Any] = ["k_prior", "replay"]
    for method in methods:
        found = LogisticRun(method=method, selection="top", percent=[10, 100], seed=0).run(Cache(tmp_path))["errors"]
        assert found["100"] < 1e-6 < found["10"]


def table_of(results: Mapping[Cell, dict[str, Any]], report: TableReport) -> list[list[str]]:
    arms = {"a": Arm({}), "b": Arm({})}
    study = Study("toy", "?", Kind(FitRun, TableReport), report, {"all": {}}, arms, {"config": "digits.yaml"}, seeds=4)
    return [list(row) for row in report.table(study, results, "all").rows]


def test_the_cells_of_a_table_are_means_and_paired_differences() -> None:
    ours, theirs = [0.5, 0.6, 0.8, 0.9], [0.4, 0.6, 0.5, 0.7]
    results = {Cell("all", "a", seed): {"parts": {"test": value}} for seed, value in enumerate(ours)}
    results |= {Cell("all", "b", seed): {"parts": {"test": value}} for seed, value in enumerate(theirs)}
    column = {"path": "parts.test", "scale": 100.0, "digits": 2}
    columns = {"test": Column(**column), "minus b": Column(**column, difference=True), "other": Column("parts.none")}  # type: ignore[arg-type]
    first, second = table_of(results, TableReport(columns, reference="b"))
    half = 100 * stats.sem(ours) * stats.t.ppf(0.975, 3)
    low, high = (100 * end for end in stats.ttest_rel(ours, theirs).confidence_interval(0.95))
    assert first == ["a", "4", f"70.00 ± {half:.2f}", f"+15.00 ({low:+.2f} to {high:+.2f})", "-"]
    assert second[3:] == ["-", "-"]


def test_a_difference_needs_a_reference() -> None:
    column = {"minus": Column("test", difference=True)}
    with pytest.raises(ValueError, match="needs an arm"):
        table_of({}, TableReport(column))
    with pytest.raises(ValueError, match="there is no arm 'c'; arms are a, b"):
        table_of({}, TableReport(column, reference="c"))


def test_the_tables_of_moments_have_every_number() -> None:
    quartiles = {"low": 900, "median": 29_899, "high": None}
    row = {
        "augmentation": "rotation",
        "samples": {"loss": quartiles, "image": {"median": 1}, "covariance": {"median": 123_456}},
        "samples_mean_loss": 5_678,
        "alignment": {"R": 0.0004, "A": 1.5},
        "loss": {
            "clean": 1.0,
            "expected": 2.0,
            "at_mean": 1.5,
            "second_order": 1.75,
            "first_order_variance_ratio": None,
        },
    }
    influence = {
        "family": "blur",
        "strength": 0.25,
        "unexplained": {"mean_image": 0.5, "second_order": 0.25, "steps": None},
    }
    settings = {"error": 0.01, "confidence": 0.95, "images": 20, "influence_images": 6}
    samples, losses, shares = tables(settings, {"augmentations": [row], "influence": [influence]})
    assert samples.rows == [["rotation", "29,900 (900-none)", "5,680", "1", "123,000", "4.0e-04", "1.50"]]
    assert losses.rows == [["rotation", "1.00", "2.00", "1.50", "1.75", "-"]]
    assert shares.rows == [["blur", "0.25", "0.50", "0.25", "-"]]
    assert "1 % at 95 % confidence" in samples.title


@pytest.mark.slow
def test_a_tiny_study_of_fits_from_end_to_end(tmp_path: Path) -> None:
    arms = {"plain": {"options": {"model.control": "plain"}}, "learned": {"options": {"model.control": "none"}}}
    report = {
        "reference": "plain",
        "columns": {"test": {"path": "test"}, "degrees": {"path": "ranges.rotation.half_width"}},
    }
    content = {"question": "?", "kind": "fit", "arms": arms, "report": report}
    brief = {
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 2,
        "trainer.log_every_n_steps": 1,
        "model.model_kwargs": {"width": 2},
    }
    common = {"config": "digits.yaml", "options": brief}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**content, "common": common}, sort_keys=False))
    command.study(str(tmp_path / "tiny.yaml"), folder=tmp_path / "runs", output=tmp_path / "out", progress=False)
    written = json.loads((tmp_path / "out" / "tiny.json").read_text())
    plain, learned = (run["result"] for run in written["runs"])
    assert plain["ranges"] == {}
    assert learned["ranges"]["rotation"]["bound"] == 90.0
    assert learned["shares"]["rotation"] == pytest.approx(learned["ranges"]["rotation"]["half_width"] / 90)
    assert "| plain | 1 |" in (tmp_path / "out" / "tiny.md").read_text()


@pytest.mark.slow
def test_a_doubled_layer_is_tested_without_and_with_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digits(path: str, **sizes: Any) -> DigitsDataModule:
        return DigitsDataModule(
            influence_size=10, test_size=50, image_size=8, **{k: sizes[k] for k in ("batch_size", "seed")}
        )

    monkeypatch.setattr("studies.kinds.large_batch.ImageDataModule", digits)
    model = {"distinctive": "cosine", "distinctive_weight": 1.0}
    shared: dict[str, Any] = {"data": "owner/name", "epochs": 1, "width": 2, "batch": 512, "seed": 0}
    twin, single = (LargeBatchRun(**shared, model=one).run(Cache(tmp_path)) for one in (model, {}))
    assert set(twin) - set(single) == {"merged", "squared_cosine"}
    assert twin["steps"] == single["steps"] == 3
    assert 0 <= twin["dropped"] <= 1
    assert twin["parameters"] > single["parameters"]
