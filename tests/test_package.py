"""The package as its users see it: names at the top, what their import costs, its citation file."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import augfluence
from augfluence.__main__ import _EXTRAS, main

ROOT = Path(__file__).parents[1]
ROOMS = ("augfluence", "augnet", "influence", "lightning_modules", "analysis")
NAMES = [name for name in augfluence.__all__ if name != "__version__"]


def python(*arguments: str, path: Path = ROOT, folder: Path = ROOT) -> str:
    """Run a Python of its own that finds packages in `path` first; what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_name_is_that_of_its_own_module() -> None:
    assert set(augfluence._HOMES) == set(NAMES)
    for name in NAMES:
        assert getattr(augfluence, name) is getattr(import_module(augfluence._HOMES[name]), name)
    assert set(augfluence.__all__) <= set(dir(augfluence))
    with pytest.raises(AttributeError, match="'augfluence' has no attribute 'Augnet'"):
        getattr(augfluence, "Augnet")  # noqa: B009 - a type checker refuses the attribute


HEAVY = {"datasets", "matplotlib", "pandas", "pyarrow", "pytorch_lightning", "sklearn"}
COUNT = """
import sys
{before}
before = set(sys.modules)
{statement}
print(*sorted(set(sys.modules) - before))
"""


def loaded(statement: str, before: str = "") -> set[str]:
    """Modules that a statement loads in a Python of its own, beyond those of another."""
    return set(python("-c", COUNT.format(before=before, statement=statement)).split())


@pytest.mark.slow
def test_what_an_import_loads() -> None:
    tops = {name.partition(".")[0] for name in loaded("import augfluence")}
    assert tops - sys.stdlib_module_names == {"augfluence"}
    found = loaded("import augnet, influence", before="import torch")
    assert len(found) < 150
    assert found.isdisjoint({*HEAVY, "kornia", "scipy", "torchvision"})


@pytest.mark.slow
def test_what_the_callback_loads_beyond_its_libraries() -> None:
    found = loaded("from augfluence import LearnedAugmentation", before="import pytorch_lightning, kornia")
    assert "lightning_modules.callbacks.learned_augmentation" in found
    assert len(found) < 2000
    assert found.isdisjoint(HEAVY)


def test_extras_are_those_that_errors_name() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    code = [path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    named = {
        name for text in code for name in re.findall(r"augfluence\[(\w+)\]|require_package\(\W\w+\W, \W(\w+)", text)
    }
    extras_named = {first or second for first, second in named} | set(_EXTRAS.values())
    assert extras_named == {"dashboard", "data", "export", "report", "tensorboard"}
    assert extras["all"] == [f"augfluence[{','.join(sorted(extras_named))}]"]
    for package, extra in _EXTRAS.items():
        assert any(requirement.startswith(f"{package}>=") for requirement in extras[extra])


def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(_: str) -> None:
        raise ModuleNotFoundError("No module named 'jinja2.ext'", name="jinja2.ext")

    monkeypatch.setattr(sys, "argv", ["augfluence", "report", "runs/digits"])
    monkeypatch.setattr("augfluence.__main__.importlib.import_module", unknown)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: this needs the package jinja2: pip install 'augfluence[report]'.\n"


def test_the_citation_file() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (found["cff-version"], found["type"], found["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert str(found["version"]) == augfluence.__version__
    assert found["authors"] == [{"name": "The augfluence authors"}]
    papers = [found["preferred-citation"], *found["references"]]
    assert len(papers) == 6
    sources = (ROOT / "docs" / "method.md").read_text().partition("## Sources")[2]
    for paper in papers:
        assert {"type", "title", "authors", "year"} <= set(paper)
        assert paper["type"] in ("article", "conference-paper")
        assert "journal" in paper or "collection-title" in paper
        assert all(set(author) == {"family-names", "given-names"} for author in paper["authors"])
        assert {"type", "value"} == set(paper.get("identifiers", [{"type": "", "value": ""}])[0])
        title = re.split("[:?]", paper["title"])[0]  # the page leaves subtitles out
        (row,) = (line for line in sources.splitlines() if title.lower() in line.lower())
        assert paper["authors"][0]["family-names"] in row
        for identifier in paper.get("identifiers", []):
            assert identifier["value"].removeprefix("arXiv:") in row
        if "et al." not in row.partition(title)[0]:
            assert all(author["family-names"] in row for author in paper["authors"])
