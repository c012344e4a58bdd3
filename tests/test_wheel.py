"""The wheel: its files and metadata; what works in an environment that has it and what it needs, and nothing else."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import augfluence

ROOT = Path(__file__).parents[1]
ADDRESS = "https://example.org/augfluence"
ROOMS = ("augfluence", "augnet", "influence", "lightning_modules")
pytestmark = pytest.mark.slow  # a build, an installation, whole runs


def run(*command: object, folder: Path, code: int = 0, **environment: str) -> str:
    """Run a program in a folder, without paths of this process; what it prints to both streams."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=folder, env={**kept, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def tracked() -> Iterator[Path]:
    """Files of the repository, relative to its root, without those of the tests."""
    for line in run("git", "ls-files", "--cached", "--others", "--exclude-standard", folder=ROOT).splitlines():
        if not line.startswith("tests/") and (ROOT / line).is_file():
            yield Path(line)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tracked files: setuptools leaves its own files beside them."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in tracked():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes((ROOT / path).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}"]
    run(sys.executable, "-m", "pip", "wheel", *options, source, folder=folder, AUGFLUENCE_REPOSITORY=f"{ADDRESS}/")
    (built,) = folder.glob("*.whl")
    return built


def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def needed(requirements: list[str]) -> set[str]:
    """The distributions that requirements without an extra ask for, with those that these ask for, by their name."""
    found: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        wanted = {(canonicalize_name(requirement.name), asked) for asked in ("", *requirement.extras)}
        waiting += [(below, asked) for name, asked in wanted - found for below in distribution(name).requires or []]
        found |= wanted
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment that has the wheel and, as links to those of this one, what the wheel needs."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, symlinks=True)
    (site,) = root.glob("lib/python*/site-packages")
    for name in needed(metadata(wheel).get_all("Requires-Dist", [])):
        found = distribution(name)
        for entry in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            if not (site / entry).exists() and not entry.endswith(".pth"):
                (site / entry).symlink_to(Path(str(found.locate_file(entry))).resolve())
    options = ["--quiet", "--no-deps", "--no-index"]
    run(sys.executable, "-m", "pip", f"--python={root}/bin/python", "install", *options, wheel, folder=root)
    return root / "bin"


def test_files_of_the_wheel(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        files = {Path(name) for name in archive.namelist()}
        entry = next(path for path in files if path.name == "entry_points.txt")
        assert "augfluence = augfluence.__main__:main" in archive.read(str(entry)).decode()
    assert wheel.name.startswith(f"augfluence-{augfluence.__version__}-")
    assert {path.parts[0] for path in files} - {entry.parts[0]} == set(ROOMS)
    below = {"analysis", "configs"}
    shipped = {Path("augfluence", path) if path.parts[0] in below else path for path in tracked()}
    assert {path for path in files if path.parts[0] in ROOMS} == {path for path in shipped if path.parts[0] in ROOMS}
    assert {Path(room, "py.typed") for room in (*ROOMS, "augfluence/analysis")} <= files


def test_metadata_of_the_wheel(wheel: Path) -> None:
    found = metadata(wheel)
    addresses = dict(line.split(", ") for line in found.get_all("Project-URL", []))
    assert addresses["Repository"] == ADDRESS
    assert set(addresses) == {"Repository", "Documentation", "Changelog", "Issues"}
    for address in addresses.values():  # those of files lead to files of the repository
        assert address.startswith(ADDRESS)
        if "/blob/main/" in address:
            assert (ROOT / address.partition("/blob/main/")[2]).is_file()
    assert found["License-Expression"] == "Apache-2.0"
    assert not {"Author", "Author-email", "Maintainer", "Maintainer-email"} & set(found)
    assert {"data", "report", "dashboard", "bench", "all"} <= set(found.get_all("Provides-Extra", []))
    assert "numpy" in needed(found.get_all("Requires-Dist", []))
    assert not {"datasets", "pandas", "pyarrow"} & needed(found.get_all("Requires-Dist", []))  # 260 MB
    classifiers = found.get_all("Classifier", [])
    assert {"Typing :: Typed", "Topic :: Scientific/Engineering :: Image Recognition"} <= set(classifiers)
    assert len(set(classifiers)) == len(classifiers) > 8
    assert len(found["Keywords"].split(",")) > 5


LOOP = """
import torch
from torch import nn
from augfluence import Augmenter, load_policy

images, labels = torch.rand(64, 1, 8, 8), torch.arange(64) % 4
model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
augmenter = Augmenter(model, (images, labels), ["rotation", "brightness"])
updates = 0
for _ in range(60):
    loss = nn.functional.cross_entropy(model(augmenter(images)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    updates += augmenter.step(images, labels) is not None
augmenter.save("policy.json")
print(f"{updates} updates of {sorted(load_policy('policy.json').describe())}")

import sys
from augfluence.__main__ import main
sys.argv[1:] = "attribute --config runs/digits/config.yaml --ckpt_path runs/digits/checkpoints/last.ckpt".split()
sys.argv += ["--views=1", "--trainer.enable_progress_bar=false"]
main()
sys.argv[1:] = ["report", "runs/digits"]
main()

from augfluence import ImageDataModule
try:
    ImageDataModule("photos")
except ValueError as error:
    print(error)
sys.argv[1:] = ["create", "runs"]
main()
"""


def test_what_it_does_with_what_it_needs(binaries: Path, tmp_path: Path) -> None:
    program, python = binaries / "augfluence", binaries / "python"
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=8", "--trainer.enable_progress_bar=false"]
    small = ["--data.image_size=8", "--run.compare=[]", "--run.wandb=disabled"]
    run(program, "fit", "--config", "digits", *short, *small, folder=tmp_path)
    shown = run(python, "-c", LOOP, folder=tmp_path, code=2)  # that of its last command
    assert "3 updates of ['brightness', 'rotation']" in shown
    for what in ("ImageDataModule", "error: create"):
        assert f"{what} needs the package datasets: pip install 'augfluence[data]'." in shown
    folder = tmp_path / "runs" / "digits"
    assert {path.name for path in folder.iterdir()} >= {"summary.json", "policy.json", "attribution", "report.html"}
    where = run(python, "-c", "import augfluence, analysis", folder=tmp_path, code=1)
    assert "No module named 'analysis'" in where
    for room in ROOMS:
        path = Path(run(python, "-c", f"import {room}; print({room}.__file__)", folder=tmp_path).strip())
        assert binaries.parent in path.parents


USER = """
from augfluence import Augmenter, AugNet, LearnedAugmentation
from augfluence import Augnet

reveal_type(AugNet.from_ops(["rotation"]))
reveal_type(Augmenter.step)
reveal_type(LearnedAugmentation(["rotation"]))
"""


@pytest.mark.long
def test_types_of_a_users_file(binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    options = ["--strict", f"--python-executable={binaries}/python", f"--cache-dir={tmp_path}"]
    shown = run(sys.executable, "-m", "mypy", *options, "user.py", folder=tmp_path, code=1).splitlines()
    errors = [line for line in shown if ": error: " in line]
    assert len(errors) == 1, shown
    assert 'Module "augfluence" has no attribute "Augnet"' in errors[0]
    types = [line.partition("Revealed type is ")[2] for line in shown if "Revealed type is" in line]
    assert types[0] == '"augnet.network.AugNet[augnet.policies.ranges.RangePolicy, augnet.space.TransformSpace]"'
    assert "images: torch._tensor.Tensor" in types[1]
    assert "lightning_modules.learner.policy_learner.PolicyUpdate | None" in types[1]
    assert types[2] == '"lightning_modules.callbacks.learned_augmentation.LearnedAugmentation"'
