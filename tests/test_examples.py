"""The programs in `examples/`, for a moment."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from augnet import load_policy

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
Example = Callable[..., tuple[Any, dict[str, Any], str]]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Example:
    """Calls `main` of a program in a folder of its own; returns its result, its names, and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)

    def run(name: str, **arguments: Any) -> tuple[Any, dict[str, Any], str]:
        names = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        result = names["main"](**arguments)
        return result, names, capsys.readouterr().out

    return run


def check_rotation_opened(printed: str, bounds: dict[str, float], initial: float = 0.1) -> None:
    """The range of rotations grew, and takes the largest share of its bound."""
    widths = dict(re.findall(r"^(\w+): \+-(\S+) ", printed, re.M))
    shares = {name: float(width) / bounds[name] for name, width in widths.items()}
    assert set(shares) == set(bounds)
    assert max(shares, key=shares.__getitem__) == "rotation", shares
    assert shares["rotation"] > 1.2 * initial


@pytest.mark.slow
def test_a_plain_loop_learns_to_rotate(example: Example, tmp_path: Path) -> None:
    (plain, learned, policy), names, printed = example("plain_loop", epochs=10)
    assert learned > plain + 0.2
    check_rotation_opened(printed, names["OPS"])
    assert policy.describe()["rotation"]["half_width"] > 20
    assert (tmp_path / "policy.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fabric_loop", {}),
        ("fabric_loop", {"precision": "bf16-mixed"}),
        ("accelerate_loop", {}),
        ("huggingface_trainer", {"epochs": 8}),
        ("timm_script", {}),
    ],
)
def test_other_peoples_loops_learn_to_rotate(name: str, arguments: dict[str, Any], example: Example) -> None:
    _, names, printed = example(name, **{"epochs": 5} | arguments)
    check_rotation_opened(printed, names["OPS"])


@pytest.mark.long
@pytest.mark.slow
def test_two_processes_of_fabric_share_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    command = [
        sys.executable,
        "-W",
        "error::UserWarning",
        str(EXAMPLES / "fabric_loop.py"),
        "--epochs=5",
        "--devices=2",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_rotation_opened(done.stdout, runpy.run_path(str(EXAMPLES / "fabric_loop.py"))["OPS"])


@pytest.mark.slow
def test_a_policy_is_a_transform_of_torchvision_and_timm(example: Example) -> None:
    (plain, augmented), names, printed = example("policy_as_transform", epochs=6)
    assert augmented > plain + 0.2
    assert "_PolicyTransform" in printed
    transform = names["in_timm"](load_policy("policy.json"))
    pictures = [transform(PIL.Image.new("RGB", (20, 20), "red")) for _ in range(2)]
    assert all(picture.shape == (3, 32, 32) for picture in pictures)
    assert pictures[0].min() < pictures[0].max()  # the corners are black


@pytest.mark.slow
def test_learned_augmentation_in_a_module_of_ones_own(example: Example, tmp_path: Path) -> None:
    _, _, printed = example("own_lightning_module", epochs=4)
    assert "learned: " in printed
    assert "rotation: +-" in printed
    assert (tmp_path / "policy.json").exists()


def test_a_program_is_short() -> None:
    for program in EXAMPLES.glob("*.py"):
        assert len(program.read_text().splitlines()) < 90, program.name
