"""What several files share: a bare command line, and a trained run to compare with."""

import sys
from typing import Any

import pytest
from tiny_runs import end_of, tiny

from lightning_modules.commands.cli import main


@pytest.fixture
def bare_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments of the process are not those of pytest, which Lightning would read."""
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The end of a tiny run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        main(tiny(folder, "--run.test=false"))
    return end_of(folder / "digits" / "checkpoints" / "last.ckpt")
