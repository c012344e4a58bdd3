"""Mistakes in arguments that are said before the libraries load; the parser of the command is the oracle."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from augfluence.__main__ import TRAINING
from augfluence.early_errors import find_mistake
from lightning_modules.commands.cli import main

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAINING)
def test_every_option_of_a_command_is_known(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["augfluence"])
    with pytest.raises(SystemExit):
        main([command, "--help"])
    options = re.findall(r"^ +(?:-\w, )?(--[\w.]+)", capsys.readouterr().out, re.M)
    assert len(options) > 100
    for option in options:
        assert find_mistake(command, [option, "1"] if "config" not in option else [], []) is None, option
        if option.partition(".")[0] != "--data" and "config" not in option and "ckpt_path" not in option:
            assert find_mistake(command, [f"{option}_qq"], []) is not None or option.count(".") > 1, option


@pytest.mark.parametrize(
    "words",
    [
        ["--model.ops.rotation=30", "--model.ops+=hue", "--model.learner", "{lr: 1}", "--trainer.max_ep", "2"],
        ["--model.optimizer.init_args.lr=1", "--data.init_args.anything=3", "--data.help=ImageDataModule"],
        ["--config={model: {control: plain}}", "--config", "s3://bucket/c.yaml", "--seed_everything", "1"],
        ["--ckpt_path", "last", "--run.name", "---"],
    ],
)
def test_what_the_parser_may_take_passes(words: list[str]) -> None:
    assert find_mistake("fit", words, []) is None


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("fit", "--model.learner.lrr 1", "no option --model.learner.lrr: did you mean --model.learner.lr?"),
        ("fit", "--run.names=x", "no option --run.names: did you mean --run.name?"),
        ("fit", "--trainer.epochs=2", "no option --trainer.epochs"),
        ("fit", "--modle.ops=2", "no option --modle.ops: did you mean --model?"),
        ("fit", "--views=2", "no option --views"),  # of attribute
        ("attribute", "--view=2 --fold=3 --foldr=2", "no option --foldr: did you mean --folder?"),
        ("fit", "-c digitz", "no file digitz. Did you mean digits?"),
        ("test", "--config=no.yaml", "no file no.yaml. `augfluence --help` lists"),
        ("test", "--ckpt_path runs/x/last.ckpt", "there is no checkpoint runs/x/last.ckpt"),
    ],
)
def test_mistakes(command: str, words: str, message: str) -> None:
    assert message in (find_mistake(command, words.split(), ["cifar10", "digits"]) or "")


SHOW = """
import sys
from augfluence.__main__ import main
try:
    main()
finally:
    print(sorted({"torch", "numpy", "jsonargparse", "pytorch_lightning"} & set(sys.modules)), file=sys.stderr)
"""


def test_they_are_said_before_libraries_load(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHOW, "fit", "--config", "digits", "--model.learner.lrr=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    message, modules = done.stderr.splitlines()
    assert message.startswith("error: there is no option --model.learner.lrr")
    assert modules == "[]"
