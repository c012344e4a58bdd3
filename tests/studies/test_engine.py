"""The engine of studies, with a kind of study that trains nothing: grid, keys, cache, runner and results."""

import json
import multiprocessing
import re
import sys
import threading
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import Timeout
from toy_study import KIND, Toy, ToyReport

import studies.__main__ as command
from studies.data_location import VARIABLE, data_folder
from studies.engine import Arm, Cache, Cell, Study, read_study, train
from studies.engine.overlay import build
from studies.engine.yaml_file import find_kind

TASKS: dict[str, Any] = {"double": {"scale": {"factor": 2.0}}, "same": {}}
ARMS = {"a": Arm({"offset": 1}), "b": Arm({"offset": 2.0}, ["double"])}


def study_of(**changes: Any) -> Study:
    whole = Study("toy", "Toy?", KIND, ToyReport(), TASKS, ARMS, {"scale": {"factor": 1.0}}, seeds=2, source={})
    return replace(whole, **changes)


def runs(log: Path, count: int = 3, **fields: Any) -> list[Toy]:
    return [Toy(offset=float(i), scale={"factor": 1.0}, seed=0, log=str(log), **fields) for i in range(count)]


def made(log: Path) -> Counter[str]:
    """Return how often each run was made."""
    return Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else Counter()


def test_a_cell_lays_common_task_and_arm_over_each_other() -> None:
    settings = study_of().settings()
    names = [("double", "a"), ("double", "b"), ("same", "a")]  # b is for one task
    assert list(settings) == [Cell(*pair, seed) for seed in (0, 1) for pair in names]
    found = settings[Cell("double", "a", 1)]
    assert found == Toy(offset=1.0, scale={"factor": 2.0}, seed=1)
    assert list(study_of().settings(["same"], ["a"])) == [Cell("same", "a", 0), Cell("same", "a", 1)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "at least one task, one arm and one seed"),
        ({"arms": {}}, "at least one task, one arm and one seed"),
        ({"arms": {"a": Arm({}, ["half"])}}, "there is no task 'half'; known are double, same"),
        ({"report": ToyReport("c")}, "rival: there is no arm 'c'"),
    ],
)
def test_studies_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study_of(**changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"ofset": 1.0}, "ofset"), ({"offset": "far"}, "offset"), ({"scale": {"factor": "x"}}, "scale"), ({}, "seed")],
)
def test_fields_that_a_setting_does_not_have(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^here: (.|\n)*{message}"):
        build(Toy, {"scale": {}, **fields, **({"seed": 0} if fields else {})}, "here")


def test_a_key_depends_on_every_field_and_on_nothing_else() -> None:
    first = Toy(offset=1.0, scale={"a": 1.0, "b": 2.0}, seed=0)
    assert first.key == Toy(offset=1.0, scale={"b": 2.0, "a": 1.0}, seed=0).key
    assert first.key == "50a98057d6b8b9f10c4fd55f"  # as committed: a change would orphan all results
    others = [replace(first, seed=1), replace(first, offset=2.0), replace(first, scale={"a": 1.0})]
    later = type("Toy", (Toy,), {"version": 2})(offset=1.0, scale=first.scale, seed=0)
    other_kind = type("Other", (Toy,), {})(offset=1.0, scale=first.scale, seed=0)
    assert len({setting.key for setting in (first, *others, later, other_kind)}) == 6


def test_a_second_call_makes_nothing(tmp_path: Path) -> None:
    asked, cache = runs(tmp_path / "log"), Cache(tmp_path / "runs")
    first = train(asked, cache, show_progress=False)
    assert [result["test"] for result in first] == [0.0, 1.0, 2.0]
    assert set(first[0]["made"]) >= {"machine", "python", "torch"}
    assert train(asked[::-1], cache, show_progress=False) == first[::-1]
    assert set(made(tmp_path / "log").values()) == {1}


def test_a_failure_leaves_what_there_is_and_the_rest_is_made_later(tmp_path: Path) -> None:
    good, cache = runs(tmp_path / "log"), Cache(tmp_path / "runs")
    bad = runs(tmp_path / "log", 1, fails=True)
    with pytest.raises(ValueError, match="lost"):
        train([good[0], *bad, *good[1:]], cache, show_progress=False)
    assert cache.has(good[0])
    assert not cache.has(bad[0])
    assert [result["test"] for result in train(good, cache, show_progress=False)] == [0.0, 1.0, 2.0]
    assert all(made(tmp_path / "log")[run.key] == 1 for run in good)


def test_a_run_gets_what_it_asks_for_and_its_own_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    asking = Toy(offset=1.0, scale={"factor": 1.0}, seed=3, asks=True)
    cache.files(asking).mkdir(parents=True)
    (cache.files(asking) / "old").write_text("of a run that was killed")
    assert cache.obtain(asking)["test"] == 4.0 + 103.0
    assert cache.has(Toy(offset=100.0, scale={"factor": 1.0}, seed=3))
    assert [file.name for file in cache.files(asking).iterdir()] == ["half"]


def test_a_run_belongs_to_one_process_until_it_is_killed(tmp_path: Path) -> None:
    cache, log = Cache(tmp_path / "runs"), tmp_path / "log"
    (run,) = runs(log, 1, seconds=600.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork beside threads
        worker = multiprocessing.get_context("fork").Process(target=cache.obtain, args=(run,))
        worker.start()
    try:
        while not (log.exists() and log.stat().st_size):  # the file is there before its first line
            assert worker.is_alive()
        with pytest.raises(Timeout):
            cache.obtain(run, patience=0.0)
    finally:
        worker.kill()
        worker.join()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        assert cache.obtain(run, patience=0.0)["test"] == 0.0
    assert made(log)[run.key] == 2


def test_many_callers_make_each_run_once(tmp_path: Path) -> None:
    asked, cache = runs(tmp_path / "log", 10, seconds=0.002), Cache(tmp_path / "runs")
    callers = [threading.Thread(target=train, args=(asked, cache, 1, 1, False)) for _ in range(6)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studies.engine.runner._POLL", 0.01)
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert made(tmp_path / "log") == Counter(run.key for run in asked)


@pytest.mark.slow
def test_processes_share_the_work_and_report_a_failure(tmp_path: Path) -> None:
    good, cache = runs(tmp_path / "log", 8, seconds=0.05), Cache(tmp_path / "runs")
    with pytest.raises(ValueError, match="lost"):
        train([*good, *runs(tmp_path / "log", 1, fails=True)], cache, workers=2, show_progress=False)
    assert all(made(tmp_path / "log")[run.key] == 1 for run in good)
    assert [cache.obtain(run)["test"] for run in good] == [float(i) for i in range(8)]


def test_a_damaged_result_is_reported(tmp_path: Path) -> None:
    (run,), cache = runs(tmp_path / "log", 1), Cache(tmp_path / "runs")
    cache.obtain(run)
    file = tmp_path / "runs" / f"{run.key}.json"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(ValueError, match="delete it, and the run is repeated"):
        train([run], cache, show_progress=False)


def test_wrong_numbers_of_workers_are_refused(tmp_path: Path) -> None:
    for workers, threads in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            train([], Cache(tmp_path), workers, threads, show_progress=False)


def toy_file(folder: Path, **changes: Any) -> Path:
    """Write a study of toys."""
    content = {
        "question": "Toy?",
        "kind": "toy_study",
        "seeds": 2,
        "common": {"scale": {"factor": 1.0}, "log": str(folder / "log")},
        "tasks": TASKS,
        "arms": {"a": {"offset": 1.0}, "b": {"offset": 2.0, "tasks": ["double"]}},
    }
    file = folder / "toy.yaml"
    file.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return file


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "studies.kinds.toy_study", sys.modules["toy_study"])


def call(file: Path, *arguments: str, folder: str = "runs") -> None:
    out, cache = file.parent / "out", file.parent / folder
    command.main([str(file), f"--folder={cache}", f"--output={out}", "--progress=false", *arguments])


@pytest.mark.usefixtures("toys")
def test_the_command_publishes_and_a_fresh_copy_makes_nothing_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = toy_file(tmp_path)
    call(file, "--arms=[a]", "--tasks=[double]", "--seeds=1")
    (first,) = json.loads((tmp_path / "out" / "toy.json").read_text())["runs"]
    assert (first["task"], first["arm"], first["seed"], first["result"]["test"]) == ("double", "a", 0, 2.0)
    call(file)
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(written) == {"toy.json", "toy.md", "toy.png", "toy_curves.png"}
    page = written["toy.md"].decode()
    assert page.startswith("# Toy?\n\n`python -m studies toy`. 6 of 6 runs, made with machine ")
    assert page.endswith("double, a: [2.0, 4.0]\n\ndouble, b: [4.0, 6.0]\n\nsame, a: [1.0, 2.0]\n")
    assert json.loads(written["toy.json"])["facts"] == {"lines": 3}
    assert len(made(tmp_path / "log")) == 6
    call(file, "--seeds=1", folder="elsewhere")  # keeps the second seed, which was published
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written
    assert set(made(tmp_path / "log").values()) == {1}
    assert "double, b" in capsys.readouterr().out


@pytest.mark.usefixtures("toys")
def test_a_failure_is_one_line_and_publishes_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = toy_file(tmp_path, arms={"a": {"offset": 1.0}, "b": {"offset": 2.0, "fails": True}})
    with pytest.raises(SystemExit):
        call(file)
    assert "error: lost" in capsys.readouterr().err
    assert [run["arm"] for run in json.loads((tmp_path / "out" / "toy.json").read_text())["runs"]] == ["a"]


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, ["--arms=[nobody]"], "there is no arm 'nobody'; known are a, b"),
        ({}, ["--tasks=[x]"], "there is no task 'x'"),
        ({}, ["--seeds=0"], "at least one task, one arm and one seed"),
        ({"colour": 1}, [], "there is no 'colour'; a study has arms, common"),
        ({"kind": "nothing"}, [], "expected a module with a KIND, found 'nothing'"),
        ({"report": {"x": 1}}, [], "report"),
        ({"arms": {"a": 3}}, [], "arm 'a', found 3"),
        ({"arms": {"a": {"ofset": 3}}}, [], "arm 'a': "),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    changes: dict[str, Any], arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = toy_file(tmp_path, **changes)
    with pytest.raises(SystemExit):
        call(file, *arguments)
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.usefixtures("toys")
def test_the_folder_of_the_data_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "elsewhere")
    call(toy_file(tmp_path), f"--data={tmp_path / 'data'}")
    assert data_folder() == tmp_path / "data"


def test_a_study_that_does_not_exist_is_reported_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert re.search("there is no study 'nothing'; known are .*planted, shift", capsys.readouterr().err)


def test_a_kind_may_be_any_module() -> None:
    assert find_kind("studies.kinds.classifier") is find_kind("classifier")


def test_a_file_without_a_kind_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("question: Why?\narms: {a: {}}\n")
    with pytest.raises(ValueError, match="expected 'kind', found none"):
        read_study(tmp_path / "x.yaml")
