"""What the small studies of CIFAR-10 publish."""

import json
from pathlib import Path

import pytest

from analysis.result_files import write_result
from benchmarks.small_cifar import arguments, publish, result_of, setting


def test_what_was_measured_is_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="has no result"):
        result_of(tmp_path, "study")
    write_result(tmp_path, "study", {"share": 0.5}, settings={}, seed=0)
    content = {"setting": setting(seeds=3), **result_of(tmp_path, "study")}
    (tmp_path / "rates.png").write_bytes(b"picture")
    publish(tmp_path / "results", "study", content, "words\n", {"study.png": tmp_path / "rates.png"})
    published = {file.name: file.read_bytes() for file in (tmp_path / "results").iterdir()}
    assert set(published) == {"study.json", "study.md", "study.png"}
    assert json.loads(published["study.json"]) == content
    assert (published["study.md"], published["study.png"]) == (b"words\n", b"picture")
    assert content["result"] == {"share": 0.5}
    assert list(content["setting"])[:2] == ["machine", "seeds"]
    assert content["setting"]["torch"]
    assert capsys.readouterr().out == "words\n\n"


def test_every_study_takes_the_same_arguments() -> None:
    options = arguments("what it does", "class-effects", 5).parse_args(["elsewhere", "--seeds=2"])
    assert (options.path, options.seeds, options.output) == ("elsewhere", 2, Path("benchmarks/results"))
    assert options.folder == Path("runs/benchmark-class-effects")
