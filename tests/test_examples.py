"""The programs in `examples/`, for a moment."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_learned_augmentation_in_a_module_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    program = runpy.run_path(str(EXAMPLES / "own_lightning_module.py"))
    program["main"](epochs=4)
    shown = capsys.readouterr().out
    assert "learned: " in shown
    assert "rotation: +-" in shown
    assert (tmp_path / "policy.json").exists()
