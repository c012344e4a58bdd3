"""Options and settings that the documentation names exist; its numbers are those that were measured."""

import dataclasses
import json
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from docs_pages import PAGES, ROOT

from analysis.__main__ import ANALYSES
from lightning_modules.commands import create
from lightning_modules.commands.cli import AugfluenceCLI, main
from lightning_modules.commands.dashboard import dashboard
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.sample_weights import SampleSettings
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.staged import StagedSettings
from studies.__main__ import study

OPTION = r"--[a-z_]+(?:\.[a-z_]+)*"


def help_of(command: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> set[str]:
    """The options that a command of train.py says it has."""
    with pytest.raises(SystemExit):
        main([command, *(arguments or ["--help"])])
    return set(re.findall(OPTION, capsys.readouterr().out))


@pytest.mark.slow
def test_every_option_exists(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    commands = ("fit", "retrain", "attribute", "adapt", "predict")
    exist = set.union(*(help_of(command, capsys) for command in commands))
    of_data = help_of("fit", capsys, "--data.help=ImageDataModule")
    exist |= {f"--data.{name.removeprefix('--').split('.')[-1]}" for name in of_data}
    exist |= {"--model.optimizer.help", "--data.help"}
    functions = [*ANALYSES.values(), dashboard, study]
    exist |= {f"--{name}" for function in functions for name in function.__annotations__}
    exist |= set(create._parser()._option_string_actions)
    exist |= {"--count", "--logdir"}  # of wandb agent and of tensorboard
    for page, path in PAGES.items():
        named = set(re.findall(rf"(?<![\w-]){OPTION}", path.read_text()))
        assert named <= exist, f"{page}: {named - exist}"


def test_every_setting_exists() -> None:
    parts = {"learner": LearnerSettings, "guard": GuardSettings, "staged": StagedSettings, "samples": SampleSettings}
    inline = r"`(?:model\.)?(learner|guard|staged|samples)\.(?!csv)([a-z_]+)\b[^`(]*`"
    for page, path in PAGES.items():
        for part, name in re.findall(inline, path.read_text()):
            fields = {field.name for field in dataclasses.fields(parts[part])}
            assert name in fields, f"{page}: {part}.{name}"


def test_the_table_of_commands_is_that_of_the_program() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\|.*\|$", PAGES["docs/command_line.md"].read_text(), re.M)
    assert sorted(rows) == sorted(AugfluenceCLI.subcommands())


def test_the_defaults_of_the_guard_are_those_of_its_page() -> None:
    text, defaults = PAGES["docs/guard.md"].read_text(), GuardSettings()
    said = dict(re.findall(r"\| (?:below|above) ([\d.]+) \| `guard\.(\w+)` \|", text))
    assert {name: float(limit) for limit, name in said.items()} == {
        name: getattr(defaults, name) for name in ("min_retention", "max_saturated", "max_residual")
    }
    assert f"`guard.patience` unhealthy updates in a row ({defaults.patience};" in text
    assert f"`guard.max_rollbacks` ({defaults.max_rollbacks})" in text


def runs_on_digits() -> dict[str, list[dict[str, Any]]]:
    """Runs of `studies/results/digits.json` by arm."""
    runs = defaultdict(list)
    for one in json.loads((ROOT / "studies" / "results" / "digits.json").read_text())["runs"]:
        runs[one["arm"]].append(one["result"])
    return runs


def test_the_table_of_the_readme_is_what_was_measured() -> None:
    def cell(values: Sequence[float], digits: int = 1) -> str:
        return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"

    said = [re.sub(r"\*\*", "", line) for line in PAGES["README.md"].read_text().splitlines()]
    runs = runs_on_digits()
    names = {"learned": "learned", "shuffled": "control: shuffled", "flipped": "control: flipped sign"}
    for arm, name in {**names, "identity_hessian": "control: identity Hessian"}.items():
        ranges = [one["ranges"] for one in runs[arm]]
        shares = [{op: 100 * facts["half_width"] / facts["bound"] for op, facts in one.items()} for one in ranges]
        cells = [
            cell([100 * one["test"] for one in runs[arm]]),
            cell([one["rotation"]["half_width"] for one in ranges]),
            cell([statistics.mean(share for op, share in one.items() if op != "rotation") for one in shares], 0),
            *(cell([one[op] for one in shares], 0) for op in ("brightness", "contrast")),
        ]
        assert f"| {name} | {' | '.join(cells)} |" in said
    for arm, name in {"plain": "plain training", "uniform": "uniform policy, same ops"}.items():
        accuracy = cell([100 * one["test"] for one in runs[arm]])
        assert any(line.startswith(f"| {name} | {accuracy} |") for line in said)


def measured() -> Iterator[str]:
    """Numbers of the runs on digits, in the words of the page."""
    runs = runs_on_digits()
    said = {"plain": "plain {}", "uniform": "uniformly {}", "learned": "learned {}", "shuffled": "images {}"}
    for arm, text in {**said, "identity_hessian": "curvature {}"}.items():
        values = [100 * one["test"] for one in runs[arm]]
        yield text.format(f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} %")
    degrees = [one["ranges"]["rotation"]["half_width"] for one in runs["learned"]]
    yield f"between {min(degrees):.0f} and {max(degrees):.0f} degrees"
    learned, plain = ([one["seconds"] for one in runs[arm]] for arm in ("learned", "plain"))
    yield f"took {min(learned):.0f} to {max(learned):.0f} seconds a seed"
    yield f"plain training {min(plain):.0f} to {max(plain):.0f}"


@pytest.mark.parametrize("words", list(measured()))
def test_the_numbers_of_the_limits_are_those_that_were_measured(words: str) -> None:
    assert words in " ".join(PAGES["docs/limits.md"].read_text().split())
