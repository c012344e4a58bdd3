"""Results on disk: what is written is what is read, and nothing half-way or foreign is."""

import json
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from analysis.results import read_result, write_result


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([0, 1], [1, 0])
    return drawn


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = {"rows": [{"op": "rotation", "n": 3, "share": 0.25, "value": None, "infinite": True}]}
    files = write_result(tmp_path, "toy", result, settings={"error": 0.01}, seed=4, figures={"curve": figure()})
    assert files == [tmp_path / "analysis" / "toy_curve.png", tmp_path / "analysis" / "toy.json"]
    assert matplotlib.image.imread(files[0]).std() > 0.01
    read = read_result(tmp_path, "toy")
    assert read is not None
    assert (read["result"], read["settings"], read["seed"]) == (result, {"error": 0.01}, 4)
    assert (read["name"], read["pictures"]) == ("toy", ["toy_curve.png"])
    assert set(read["versions"]) == {"augfluence", "torch", "python"}


def test_a_result_of_a_study_is_read_from_its_folder(tmp_path: Path) -> None:
    runs = [{"task": "all", "arm": "a", "seed": 0, "key": "k", "result": {"accuracy": 1.0, "made": {"torch": "2"}}}]
    content = {"study": {"question": "?", "common": {"size": 3}}, "facts": {"share": 0.5}, "runs": runs}
    for folder in (tmp_path / "results", tmp_path / "own" / "analysis"):
        folder.mkdir(parents=True)
        (folder / "toy.json").write_text(json.dumps(content))
        for picture in ("toy.png", "toy_curve.png", "toys.png"):
            (folder / picture).touch()
    for folder in (tmp_path / "results", tmp_path / "own"):
        read = read_result(folder, "toy")
        assert read is not None
        assert (read["result"], read["settings"]) == ({"share": 0.5}, {"runs": 1, "size": 3})
        assert (read["pictures"], read["versions"]) == (["toy.png", "toy_curve.png"], {"torch": "2"})


def test_no_result_is_none(tmp_path: Path) -> None:
    assert read_result(tmp_path, "toy") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        write_result(tmp_path, "toy", {"value": value}, settings={}, seed=0, figures={"curve": figure()})
    assert not (tmp_path / "analysis").exists()


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"format": "augfluence-analysis", "version": 99})])
def test_foreign_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "toy.json").write_text(content)
    with pytest.raises(ValueError, match="run the analysis again"):
        read_result(tmp_path, "toy")
