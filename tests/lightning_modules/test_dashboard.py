"""The views as objects and as JSON, and the command; nothing is sent. What they show: test_logged_keys.py."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.commands.dashboard import as_json, main, views
from lightning_modules.monitoring.metric_keys import METRICS, metric

internal = pytest.importorskip(
    "wandb_workspaces.workspaces.internal", reason="dashboards are an extra: pip install 'augfluence[dashboard]'"
)
import wandb_workspaces.workspaces as workspaces  # noqa: E402

from lightning_modules.monitoring.dashboard_views import COMPARISON, RUN, panel  # noqa: E402

NAMES = ["augfluence: a run", "augfluence: controls"]


@pytest.fixture(params=[0, 1], ids=["run", "controls"])
def view(request: pytest.FixtureRequest) -> Any:
    return views("someone", "digits")[request.param]


def sections(view: Any) -> list[Any]:
    return list(view._to_model().spec.section.panel_bank_config.sections)


def test_a_view_survives_being_written_and_read_back(view: Any) -> None:
    written = as_json(view)
    spec = internal.WorkspaceViewspec.model_validate_json(json.dumps(written["spec"]))
    model = internal.View(entity="someone", project="digits", display_name=written["name"], name="", id="", spec=spec)
    assert as_json(workspaces.Workspace._from_model(model)) == written


def test_where_the_views_go() -> None:
    found = views("someone", "digits")
    assert [view.name for view in found] == NAMES
    assert {(view.entity, view.project) for view in found} == {("someone", "digits")}
    assert not any(view.auto_generate_panels for view in found)


@pytest.mark.parametrize(("number", "expected"), [(0, RUN), (1, COMPARISON)])
def test_every_section_has_its_panels_and_their_help(number: int, expected: Any) -> None:
    for section, (name, panels) in zip(sections(views("a", "b")[number]), expected.items(), strict=True):
        assert section.name == name
        *shown, help_panel = section.panels
        assert [one.config.chart_title for one in shown] == list(panels)
        text = help_panel.config.value
        keys = {key for keys in panels.values() for key in keys}
        for one in METRICS:
            assert (f"**`{one.key}`**" in text) == (one.key in keys)
            if one.key in keys:
                assert all(part in text for part in (one.meaning, one.unit, one.healthy, one.otherwise))


def test_everything_that_is_learned_or_guarded_is_in_the_view_of_a_run() -> None:
    shown = {key for panels in RUN.values() for keys in panels.values() for key in keys}
    missing = [one.key for one in METRICS if one.key not in shown]
    assert missing == ["test/loss", "adapt/loss", "epoch", "trainer/global_step"]


def test_the_comparison_groups_runs_and_panels_by_control() -> None:
    model = views("a", "b")[1]._to_model()
    assert [key.name for key in model.spec.section.run_sets[0].grouping] == ["control.value"]
    for section in sections(views("a", "b")[1]):
        for one in section.panels[:-1]:
            config = one.config
            assert (config.group_by, config.group_agg, config.group_area) == ("control.value", "mean", "stderr")
            assert config.aggregate is True


def test_a_panel_shows_what_is_documented_only() -> None:
    with pytest.raises(KeyError, match="'val/recall' is not documented"):
        panel("Recall", ("val/recall",))
    with pytest.raises(
        ValueError, match="panel 'Both': a family of keys needs a panel of its own, found range/OP, val/a"
    ):
        panel("Both", ("range/OP", "val/acc"))
    assert panel("Ranges", ("range/OP",)).metric_regex == metric("range/OP").regex == "^range/(.+)$"


# The command


def test_dry_run_prints_both_views(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspaces.Workspace, "save", lambda view: pytest.fail("sent"))
    main(["--entity=someone", "--project=digits", "--dry_run"])
    printed = json.loads(capsys.readouterr().out)
    assert [view["name"] for view in printed] == NAMES
    assert all(view["spec"]["section"]["panelBankConfig"]["sections"] for view in printed)


def test_dry_run_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--entity=someone", "--dry_run", f"--write={tmp_path / 'views.json'}"])
    assert [view["name"] for view in json.loads((tmp_path / "views.json").read_text())] == NAMES
    assert capsys.readouterr().out == ""


def test_both_views_are_saved_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    saved: list[str] = []

    def upsert(view: Any) -> Any:
        saved.append(f"{view.entity}/{view.project}/{view.display_name}")
        return {"upsertView": {"view": {"name": f"nw-{len(saved)}-v", "id": str(len(saved))}}}

    monkeypatch.setattr(internal, "upsert_view2", upsert)
    monkeypatch.setattr(workspaces.Workspace, "url", "https://wandb.example")  # W&B tells it to those who log in
    main(["--entity=someone"])
    assert saved == [f"someone/augfluence/{name}" for name in NAMES]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}: https://wandb.example" for name in NAMES]


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("error", [ConnectionError("no route to host"), ValueError("project not found")])
def test_a_view_that_is_not_taken(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def save(view: Any) -> None:
        raise error

    monkeypatch.setattr(workspaces.Workspace, "save", save)
    text = error_of(["--entity=someone"], capsys)
    assert text.startswith("error: W&B did not take the view 'augfluence: a run' of someone/augfluence (")
    assert str(error) in text
    assert "wandb login" in text
    assert "--dry_run" in text


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.delitem(sys.modules, "wandb_workspaces.workspaces")
    monkeypatch.delitem(sys.modules, "lightning_modules.monitoring.dashboard_views")
    text = error_of(["--entity=someone", "--dry_run"], capsys)
    assert "dashboards need the package wandb-workspaces" in text
    assert "pip install 'augfluence[dashboard]'" in text


@pytest.mark.parametrize("arguments", [[], ["--entity=a", "--entry=b"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "usage: python -m lightning_modules.commands.dashboard" in error_of(arguments, capsys)
