"""A checkpoint goes on with the settings of its run: others are refused, with both values."""

from pathlib import Path
from typing import Any

import pytest

from lightning_modules.classifier.classifier import default_optimizer
from lightning_modules.commands.checkpoint_settings import check_given, settings_in
from lightning_modules.commands.cli import main

GOLDEN = Path(__file__).parents[1] / "golden" / "version_0_1_0"
CHECKPOINT = GOLDEN / "checkpoints" / "last.ckpt"
OLD_NAMES = pytest.mark.filterwarnings("ignore:.*(is called|is 'posterize'|were removed):DeprecationWarning")


@OLD_NAMES
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("label_smoothing=0.2", "model.label_smoothing is 0.2 here and 0.0 there"),
        ("learner.interval=7", "model.learner.interval is 7 here and 2 there"),
        ("lr_schedule=cosine", "model.lr_schedule is 'cosine' here and 'constant' there"),
        ("optimizer.lr=0.01", "model.optimizer.init_args.lr is 0.01 here and 0.1 there"),
        ("ops={rotation: 45.0}", "model.ops is"),
    ],
)
def test_the_command_line_refuses_other_settings(
    setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"--config={GOLDEN / 'config.yaml'}", f"--ckpt_path={CHECKPOINT}", f"--run.folder={tmp_path}"]
    with pytest.raises(SystemExit) as ended:
        main(["fit", *arguments, f"--model.{setting}"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@OLD_NAMES
def test_the_same_setting_in_another_form_is_no_difference() -> None:
    written = settings_in(CHECKPOINT)
    given: dict[str, Any] = {
        "ops": {"rotation": 90.0, "posterize": 4.0, "brightness": 0.3},
        "model": "lightning_modules.classifier.models.SmallConvNet",
        "lr_milestones": (0.5, 0.75),
        "pixel_mean": [0.5, 0.5, 0.5],
        "learner": {"interval": 2},
        "a_setting_of_a_later_version": 1,
    }
    check_given(given, written, "fit", CHECKPOINT)


def test_a_function_is_its_name() -> None:
    written = {"optimizer": "lightning_modules.classifier.classifier.default_optimizer"}
    check_given({"optimizer": default_optimizer}, written, "fit", CHECKPOINT)
    with pytest.raises(ValueError, match=r"model\.optimizer is .* here and .*default_optimizer' there"):
        check_given({"optimizer": check_given}, written, "fit", CHECKPOINT)


def test_ops_have_no_order() -> None:
    check_given({"ops": ["scale", "rotation"]}, {"ops": ["rotation", "scale"]}, "fit", CHECKPOINT)


def test_what_is_no_checkpoint_is_left_to_its_loader(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"no checkpoint")
    assert settings_in(tmp_path / "last.ckpt") == {}


def test_a_command_that_trains_nothing_compares_the_network_alone() -> None:
    written = {"learner": {"interval": 2}, "pixel_mean": 0.5, "model_kwargs": {"width": 2}}
    check_given({**written, "learner": {"interval": 9}}, written, "test", CHECKPOINT)
    with pytest.raises(ValueError, match=r"model\.pixel_mean is 0\.4 here and 0\.5 there"):
        check_given({**written, "pixel_mean": 0.4}, written, "predict", CHECKPOINT)


def test_retraining_decides_on_its_policy_itself() -> None:
    written = {"control": "none", "policy_file": "/elsewhere/policy.json", "label_smoothing": 0.1}
    given = {"control": "uniform", "policy_file": None, "label_smoothing": 0.1}
    check_given(given, written, "retrain", CHECKPOINT)
    with pytest.raises(ValueError, match=r"model\.control is 'uniform' here and 'none' there"):
        check_given(given, written, "fit", CHECKPOINT)
