"""The console command: its help, wrong commands, configurations by name, analyses."""

import sys
from pathlib import Path

import pytest
import yaml

from augfluence.__main__ import ANALYSES, PREPARING, TRAINING, config_folder, main, with_config_paths
from lightning_modules.commands.cli import AugfluenceCLI

ROOT = Path(__file__).parents[1]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["augfluence", *arguments])
    main()


def test_help_names_every_command_and_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--help")
    shown = capsys.readouterr().out
    run(monkeypatch)
    assert capsys.readouterr().out == shown
    assert all(f"\n  {name} " in shown for name in (*PREPARING, *TRAINING, *ANALYSES))
    assert set(TRAINING) == set(AugfluenceCLI.subcommands())
    for path in (ROOT / "configs" / "paper").iterdir():
        assert f"paper/{path.stem}" in shown


@pytest.mark.parametrize(
    ("word", "message"), [("fitt", "Did you mean fit?"), ("zzz", "Known are create, fit, validate")]
)
def test_an_unknown_command_is_said_at_once(
    word: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, word)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_configurations_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    others = ["--config=own.yaml", "--run.name", "digits"]
    found = with_config_paths(["fit", "--config", "digits", "-c=paper/mnist_1percent", *others])
    assert yaml.safe_load(Path(found[2]).read_text())["model"]["ops"]["rotation"] == 90
    assert Path(found[3].removeprefix("-c=")) == config_folder() / "paper" / "mnist_1percent.yaml"
    assert found[4:] == others
    (tmp_path / "digits").touch()  # a file of the user's comes first
    assert with_config_paths(["fit", "--config", "digits"])[2] == "digits"


def test_analyses_are_commands_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "report", "no_such_run")
    assert ended.value.code == 2
    assert "there is no run no_such_run" in capsys.readouterr().err
