"""The package as its users get it: names at the top, what their import costs, the files of the wheel."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from zipfile import ZipFile

import pytest

import augfluence

ROOT = Path(__file__).parents[1]
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


@pytest.mark.slow
def test_a_type_checker_knows_the_names_and_no_others(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from augfluence import AugNet\nfrom augfluence import Augnet\nreveal_type(AugNet.from_ops)\n")
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", f"--cache-dir={tmp_path}", str(program)]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False).stdout
    assert 'Module "augfluence" has no attribute "Augnet"' in found
    assert "-> augnet.network.AugNet" in found


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


ANALYSIS = """
import runpy, sys
sys.modules["analysis"] = None  # where the repository itself is installed, that name is known too
sys.argv[1:] = ["--help"]
runpy.run_module("augfluence.analysis", run_name="__main__")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tracked files: setuptools leaves its own files beside them."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in tracked():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes((ROOT / path).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}"]
    python("-m", "pip", "wheel", *options, str(source), folder=folder)
    (built,) = folder.glob("*.whl")
    return built


def tracked() -> Iterator[Path]:
    """Files of the repository, relative to its root, without those of the tests."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for line in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if not line.startswith("tests/") and (ROOT / line).is_file():
            yield Path(line)


@pytest.mark.slow
def test_files_of_the_wheel(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        files = {Path(name) for name in archive.namelist()}
        entry = next(path for path in files if path.name == "entry_points.txt")
        assert "augfluence = augfluence.__main__:main" in archive.read(str(entry)).decode()
    assert wheel.name.startswith(f"augfluence-{augfluence.__version__}-")
    rooms = {"augfluence", "augnet", "influence", "lightning_modules"}
    assert {path.parts[0] for path in files} - {entry.parts[0]} == rooms
    below = {"analysis", "configs"}
    shipped = {Path("augfluence", path) if path.parts[0] in below else path for path in tracked()}
    assert {path for path in files if path.parts[0] in rooms} == {path for path in shipped if path.parts[0] in rooms}
    assert {Path(room, "py.typed") for room in (*rooms, "augfluence/analysis")} <= files


@pytest.mark.slow
def test_the_installed_package_outside_of_the_repository(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    python("-m", "pip", "install", "--quiet", "--no-deps", f"--target={site}", str(wheel), folder=tmp_path)
    names = "import augfluence; print(augfluence.__file__, augfluence.LearnedAugmentation.__name__)"
    shown = python("-c", names, path=site, folder=tmp_path).split()
    assert shown == [str(site / "augfluence" / "__init__.py"), "LearnedAugmentation"]
    printed = python("-m", "augfluence", "fit", "--config=digits", "--print_config", path=site, folder=tmp_path)
    assert "SmallConvNet" in printed
    assert "augfluence.__main__" in (site / "bin" / "augfluence").read_text()
    assert "usage: " in python("-c", ANALYSIS, path=site, folder=tmp_path)
