"""Real offline runs of every policy: what they log is what is documented, and what the dashboards show."""

import csv
import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from image_files import write_image_folder
from offline_runs import logged_keys, records_of, summary_of
from tiny_runs import tiny
from two_digits import two_digits, write_csv

from lightning_modules.commands.cli import main
from lightning_modules.commands.dashboard import views
from lightning_modules.learner.policy_choice import PolicyName
from lightning_modules.monitoring.metric_keys import METRICS

pytestmark = pytest.mark.slow  # a run of each policy
pytest.importorskip(
    "wandb_workspaces.workspaces", reason="dashboards are an extra: pip install 'augfluence[dashboard]'"
)

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
SHOWN = ("ranges", "mixture")  # to W&B, which takes seconds, and to CSV; the other policies to CSV alone


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each policy; the first learns weights and soft labels too, and is compared with plain training."""
    folder = tmp_path_factory.mktemp("runs")
    photos = write_image_folder(folder / "photos", {"cat": 40, "dog": 40})
    of_photos = [
        "--data=ImageDataModule",
        f"--data.path={photos}",
        "--data.image_size=8",
        "--data.influence_size=8",
        "--data.val_size=8",
        "--data.test_size=8",
        "--data.batch_size=8",
    ]
    short = ["--trainer.limit_train_batches=7", "--trainer.limit_test_batches=1", "--trainer.log_every_n_steps=3"]
    more = {
        "ranges": [
            *("--run.compare=[plain]", "--model.samples.weights=true", "--model.samples.soft_labels=true"),
            *("--trainer.callbacks+=PolicyPictures", "--trainer.callbacks.every_n_epochs=1"),
        ],
        "trivial_augment_mixture": of_photos,  # its ops are for RGB images
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        patch.chdir(folder)
        for policy in POLICIES:
            wandb = "offline" if policy in SHOWN else "disabled"
            own = [f"--run.wandb={wandb}", f"--run.name={policy}", f"--model.policy={policy}"]
            main([*tiny(folder, epochs=1), *own, *short, *more.get(policy, [])])
        labels = write_csv(folder / "digits" / "metadata.csv", two_digits(64, 0, 0))
        of_digits = [*of_photos, f"--data.path={labels.parent}", "--data.label_separator=|"]
        main([*tiny(folder, epochs=1), "--run.wandb=disabled", "--run.name=several_labels", *of_digits, *short])
    return folder


@pytest.fixture(scope="module")
def logged(runs: Path) -> dict[str, set[str]]:
    """The keys of each of these runs, as W&B's own reader finds them in its files."""
    return {policy: logged_keys(runs / policy) for policy in SHOWN}


@pytest.fixture(scope="module")
def everything(runs: Path, logged: dict[str, set[str]]) -> set[str]:
    """The keys that W&B has, or would have: that it misses none of metrics.csv is tested below."""
    others = [columns(runs, name) - {"step"} for name in (*POLICIES, "several_labels") if name not in SHOWN]
    return set().union(*logged.values(), *others)


def columns(runs: Path, policy: str) -> set[str]:
    """Those of metrics.csv."""
    with (runs / policy / "metrics.csv").open() as file:
        return set(next(csv.reader(file)))


def test_what_is_written_to_csv_is_logged_to_wandb_too(runs: Path, logged: dict[str, set[str]]) -> None:
    for policy in SHOWN:
        assert columns(runs, policy) - {"step"} == logged[policy] - {
            "trainer/global_step",
            "policy/augmentations",
            "influence/histogram",
        }


def undocumented(keys: set[str]) -> set[str]:
    return {key for key in keys if not any(one.covers(key) for one in METRICS)}


def test_every_key_that_is_logged_is_documented(runs: Path, everything: set[str]) -> None:
    assert undocumented(everything) == set()
    assert undocumented({*everything, "influence/median"}) == {"influence/median"}
    for policy in POLICIES:
        assert undocumented(columns(runs, policy)) == {"step"}


def test_every_documented_key_is_logged_by_some_run(everything: set[str]) -> None:
    missing = [one.key for one in METRICS if not any(one.covers(key) for key in everything)]
    assert missing == ["adapt/loss"]  # of another command, below


def test_adapt_logs_its_loss(runs: Path, tmp_path: Path) -> None:
    run = runs / "ranges" / "plain"
    (tmp_path / "rows.txt").write_text("0\n7\n")
    logger = ("--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}", "--trainer.logger.name=logs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        patch.chdir(tmp_path)
        _, *settings = tiny(runs, epochs=1)
        change = (
            f"--change.remove={tmp_path / 'rows.txt'}",
            "--model.control=plain",
            "--test=false",
            "--folder=adapted",
            "--trainer.log_every_n_steps=1",
        )
        main(["adapt", *settings, *change, *logger, f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"])
    (file,) = tmp_path.glob("logs/*/metrics.csv")
    with file.open() as text:
        keys = set(next(csv.reader(text)))
    assert "adapt/loss" in keys
    assert undocumented(keys) == {"step"}


def test_each_policy_logs_what_it_learns(runs: Path) -> None:
    groups = {policy: {key.split("/")[0] for key in columns(runs, policy)} for policy in POLICIES}
    own = {"range", "lowest", "highest", "shift", "probability", "strength", "field", "samples"}
    assert {policy: found & own for policy, found in groups.items()} == {
        "ranges": {"range", "samples"},
        "intervals": {"range", "lowest", "highest"},
        "mixture": {"probability", "strength"},
        "trivial_augment_mixture": {"probability", "strength"},
        "conditional": {"range", "shift"},
        "class_conditional": {"range"},
        "field": {"field"},
    }
    assert {"val/acc/cat", "val/acc/dog"} <= columns(runs, "trivial_augment_mixture")


def test_without_a_policy_there_is_nothing_about_one(runs: Path) -> None:
    groups = {key.split("/")[0] for key in columns(runs, "ranges/plain")}
    assert groups == {"train", "val", "test", "epoch", "step", "samples"}


# Dashboards


def unseen(view: Any, keys: set[str]) -> list[str]:
    """Titles of the panels of a view that show a key, or a family, which nobody logs."""
    found = []
    for section in view._to_model().spec.section.panel_bank_config.sections:
        for panel in section.panels:
            config = panel.config.model_dump(by_alias=True)
            names = [*(config.get("metrics") or []), *(config.get("mediaKeys") or [])]
            axis = [config["xAxis"]] if config.get("xAxis") else []
            pattern = config.get("metricRegex")
            missing = [name for name in (*names, *axis) if name not in keys]
            if pattern and not any(re.search(pattern, key) for key in keys):
                missing.append(pattern)
            if missing or not (names or pattern or "value" in config):
                found.append(config.get("chartTitle") or "help")
    return found


@pytest.mark.parametrize("number", [0, 1])
def test_every_panel_shows_keys_that_a_run_logs(number: int, everything: set[str]) -> None:
    assert unseen(views("someone", "augfluence")[number], everything) == []


def test_a_panel_of_a_key_that_nobody_logs_is_found(everything: set[str]) -> None:
    import wandb_workspaces.reports.v2 as reports

    view = views("someone", "augfluence")[0]
    view.sections[1].panels += [
        reports.LinePlot(title="planted", x="trainer/global_step", y=["val/acc", "val/recall"]),
        reports.LinePlot(title="planted family", x="trainer/global_step", metric_regex="^width/(.+)$"),
        reports.LinePlot(title="planted axis", x="steps", y=["val/acc"]),
        reports.BarPlot(title="planted bar", metrics=["test/f1"]),
        reports.MediaBrowser(title="planted pictures", media_keys=["policy/pictures"]),
        reports.LinePlot(title="empty"),
    ]
    planted = ["planted", "planted family", "planted axis", "planted bar", "planted pictures", "empty"]
    assert unseen(view, everything) == planted


def test_a_ranges_run_fills_every_panel_but_those_of_other_policies(logged: dict[str, set[str]]) -> None:
    empty = unseen(views("someone", "augfluence")[0], logged["ranges"])
    others = ["Centers of ranges (conditional)", "Lowest magnitudes (intervals)", "Highest magnitudes (intervals)"]
    of_labels = ["Mean average precision (several labels)", "Test"]  # the latter shows keys of both kinds
    policies = [*others, "Probabilities (mixture)", "Strengths (mixture)", "Field"]
    assert empty == [*of_labels, *policies, "Average precision of each class"]


def test_the_runs_say_by_what_they_are_compared(runs: Path) -> None:
    assert [summary_of(runs / name)["config"]["control"] for name in ("ranges", "ranges/plain")] == ["none", "plain"]
    (grouping,) = views("someone", "augfluence")[1]._to_model().spec.section.run_sets[0].grouping
    assert (grouping.section, grouping.name) == ("config", "control.value")


def test_pictures_and_influences_are_of_the_kinds_that_their_panels_show(runs: Path) -> None:
    kinds = {
        key: value["_type"]
        for key, value in summary_of(runs / "ranges")["summary"].items()
        if isinstance(value, dict) and "_type" in value
    }
    assert kinds == {"policy/augmentations": "image-file", "influence/histogram": "histogram"}
    assert records_of(runs / "ranges", "alert") == []
