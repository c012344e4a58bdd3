"""Settings of 0.1.0 under their old names: in configurations, on the command line, from Python."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_modules.commands.cli import build_cli
from lightning_modules.commands.renamed_settings import with_new_names
from lightning_modules.data import DigitsDataModule, ImageDataModule

OLD = "the setting data.influence_set is called data.influence_source now"
DIGITS = Path(__file__).parents[2] / "configs" / "digits.yaml"


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])


def source(args: Any) -> str:
    found: str = build_cli(args, run=False).datamodule.influence_source
    return found


@pytest.mark.slow
def test_old_names_are_read_wherever_a_setting_can_be_given(tmp_path: Path) -> None:
    fields = yaml.safe_load(DIGITS.read_text())
    fields["data"]["init_args"]["influence_set"] = "cross_fit"
    file = tmp_path / "config.yaml"  # as a run of 0.1.0 has saved it
    file.write_text(yaml.safe_dump(fields))
    with pytest.warns(DeprecationWarning, match=OLD):
        assert source([f"--config={file}"]) == "cross_fit"
    with pytest.warns(DeprecationWarning, match=OLD):
        assert source([f"--config={file}", "--data.influence_source=train"]) == "train"  # a later word wins
    for words in (["--data.influence_set=train"], ["--data.init_args.influence_set", "train"]):
        with pytest.warns(DeprecationWarning, match=OLD):
            assert source([f"--config={DIGITS}", *words]) == "train"
    with pytest.warns(DeprecationWarning, match=OLD):
        assert source({name: fields[name] for name in ("model", "data")}) == "cross_fit"  # as `analysis` opens a run


def test_names_of_today_pass_unchanged(recwarn: pytest.WarningsRecorder) -> None:
    words = ["fit", "--data.influence_source=train", "--influence_set=1", "--model.ops+={a: 1}", "-c", "a\nb"]
    assert with_new_names(words) == words
    fields = {"data": {"init_args": {"influence_source": "train"}}, "influence_set": 3, "model": {"ops": {"hue": 1}}}
    assert with_new_names(fields) == fields
    assert with_new_names({"fit": fields}) == {"fit": fields}
    assert with_new_names(None) is None
    assert not recwarn.list


def test_a_setting_by_both_names_is_refused() -> None:
    fields = {"fit": {"data": {"init_args": {"influence_set": "train", "influence_source": "train"}}}}
    message = r"fit\.data\.init_args\.influence_set is the old name of influence_source, which is given too"
    with pytest.warns(DeprecationWarning, match=OLD), pytest.raises(ValueError, match=message):
        with_new_names(fields)


def test_old_arguments_of_the_data_modules() -> None:
    arguments: dict[str, Any] = {"influence_set": "train"}
    with pytest.warns(DeprecationWarning, match="the argument influence_set is called influence_source now"):
        assert DigitsDataModule(**arguments).influence_source == "train"
    with pytest.warns(DeprecationWarning, match="the argument influence_set"):
        assert ImageDataModule("anywhere", **arguments).influence_source == "train"
    match = "the argument influence_set"
    with pytest.warns(DeprecationWarning, match=match), pytest.raises(TypeError, match="give influence_source alone"):
        DigitsDataModule(influence_source="train", **arguments)
