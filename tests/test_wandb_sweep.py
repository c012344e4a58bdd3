"""configs/sweep.yaml: read, resolved and run as `wandb agent` does it, without the agent."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args, load_sweep_config

from lightning_modules.commands.cli import main
from lightning_modules.learner.policy_choice import PolicyName

ROOT = Path(__file__).parents[1]
FILE = ROOT / "configs" / "sweep.yaml"
SWEEP: dict[str, Any] = load_sweep_config(str(FILE)) or {}
LOG_UNIFORM = "log_uniform_values"


def choices(parameter: dict[str, Any]) -> list[Any]:
    """All that a parameter may be, or the ends of its interval."""
    return list(parameter["values"]) if "values" in parameter else [parameter["min"], parameter["max"]]


def command(chosen: dict[str, Any]) -> list[str]:
    """The words that the agent runs for a combination, put together by W&B's own code."""
    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
    words = create_sweep_command(SWEEP["command"])
    whole: list[str] = []
    replacements = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": [sys.executable],
        "${program}": [SWEEP["program"]],
        "${args}": arguments["args"],
    }
    for word in words:
        whole += replacements.get(word, [word])
    return whole


def combination(last: bool) -> dict[str, Any]:
    return {name: choices(parameter)[-1 if last else 0] for name, parameter in SWEEP["parameters"].items()}


def test_what_the_sweep_is() -> None:
    assert SWEEP["method"] == "bayes"
    assert SWEEP["metric"] == {"name": "val/acc", "goal": "maximize"}
    assert (ROOT / SWEEP["program"]).is_file()
    assert set(SWEEP) == {"program", "command", "method", "metric", "parameters"}
    assert SWEEP["command"][:3] == ["${env}", "${interpreter}", "${program}"]
    assert SWEEP["command"][-1] == "${args}"
    assert "--run.test=false" in SWEEP["command"]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SWEEP["parameters"]))
def test_every_parameter_is_a_field_whose_values_are_taken(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for value in choices(SWEEP["parameters"][name]):
        start = command({name: value})
        with pytest.raises(SystemExit) as caught:
            main([*start[start.index("fit") :], "--print_config"])
        assert caught.value.code == 0
        resolved = yaml.safe_load(capsys.readouterr().out)
        for part in name.split("."):
            resolved = resolved[part]
        assert resolved == value


def test_a_parameter_that_is_no_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    start = command({"model.learner.rate": 0.1})
    with pytest.raises(SystemExit) as caught:
        main([*start[start.index("fit") :], "--print_config"])
    assert caught.value.code == 2


@pytest.mark.parametrize(("name", "parameter"), SWEEP["parameters"].items())
def test_the_default_lies_among_the_choices(name: str, parameter: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "configs" / "digits.yaml").read_text())
    for part in name.split("."):
        config = config[part]
    if "values" in parameter:
        assert config in parameter["values"]
    else:
        assert parameter["distribution"] == LOG_UNIFORM
        assert 0 < parameter["min"] < config < parameter["max"]


def test_policies_are_known() -> None:
    assert set(SWEEP["parameters"]["model.policy"]["values"]) <= set(get_args(PolicyName))


def test_every_knob_says_what_it_does_to_cost_and_quality() -> None:
    blocks = FILE.read_text().split("\nparameters:\n")[1].split("\n  model.")
    for block in blocks:
        comment = " ".join(line.strip() for line in block.splitlines() if line.strip().startswith("#"))
        assert "Quality:" in comment, block
        assert "Cost:" in comment, block


@pytest.mark.slow
def test_a_combination_runs_as_the_agent_would_call_it(tmp_path: Path) -> None:
    """With a shorter training, and what it reports kept on this machine."""
    small = ["--trainer.max_epochs=1", "--data.image_size=8", "--run.wandb=offline", f"--run.folder={tmp_path}"]
    words = [*command(combination(last=True)), *small, "--model.learner.warmup=5", "--trainer.log_every_n_steps=5"]
    words += ["--trainer.limit_train_batches=6", "--trainer.limit_val_batches=1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", "--summary"]
    (logged,) = tmp_path.glob("sweep/wandb/offline-run-*")
    found = json.loads(subprocess.run([*reader, str(logged)], capture_output=True, check=True).stdout)
    assert 0 < found["summary"][SWEEP["metric"]["name"]] < 1
    assert "test/acc" not in found["summary"]
    assert found["config"]["policy"] == combination(last=True)["model.policy"]
    assert found["config"]["learner"]["interval"] == 20
    assert found["config"]["learner"]["damping"] == 1.0
