import json
from pathlib import Path

import pytest

from lightning_modules.monitoring.run_files import files_and_commands, next_free_folder, print_files
from lightning_modules.monitoring.run_summary import ArmResult, preferred, print_summary, write_summary

RANGES: dict[str, dict[str, float | str]] = {
    "rotation": {"half_width": 45.0, "unit": "degrees", "bound": 90.0},
    "brightness": {"half_width": 0.0123, "unit": "fraction of the full range", "bound": 0.3},
}
UNIFORM = {"rotation": {"half_width": 90.0, "unit": "degrees", "bound": 90.0}}
ARMS = [
    ArmResult("learned", 0.98765432, 20.25, RANGES, Path("runs/digits"), 0.12345678),
    ArmResult("plain", 0.5, 5.5, {}, Path("runs/digits/plain"), 0.75),
    ArmResult("uniform", 0.75, 10.004, UNIFORM, Path("runs/digits/uniform")),
]


def test_folders_are_never_shared(tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "digits"
    found = [next_free_folder(wanted) for _ in range(3)]
    assert found == [wanted, tmp_path / "runs" / "digits-2", tmp_path / "runs" / "digits-3"]
    assert all(folder.is_dir() for folder in found)


def test_gaps_are_filled_and_files_count_as_taken(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    (tmp_path / "run-3").mkdir()
    assert next_free_folder(tmp_path / "run") == tmp_path / "run-2"
    assert next_free_folder(tmp_path / "run") == tmp_path / "run-4"
    assert (tmp_path / "run").read_text() == "a file"


def test_summary_file(tmp_path: Path) -> None:
    write_summary(tmp_path / "summary.json", "digits", 7, ARMS)
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "run": "digits",
        "seed": 7,
        "test_accuracy": {"learned": 0.987654, "plain": 0.5, "uniform": 0.75},
        "validation_accuracy": {"learned": 0.123457, "plain": 0.75, "uniform": None},
        "preferred": None,
        "ranges": RANGES,
        "seconds": 35.75,
        "seconds_by_arm": {"learned": 20.25, "plain": 5.5, "uniform": 10.0},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(tmp_path, ARMS)
    text = capsys.readouterr().out
    lines = text.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells == [
        ["plain", "75.0 %", "50.0 %", "6"],
        ["uniform", "-", "75.0 %", "10"],
        ["learned", "12.3 %", "98.8 %", "20"],
        ["rotation", "+-45", "50 %", "degrees"],
        ["brightness", "+-0.0123", "4 %", "fraction of the full range"],
    ]
    assert lines[-1] == f"Files of this run: {tmp_path}"


def test_table_without_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(tmp_path, [ARMS[1]])
    text = capsys.readouterr().out
    assert "50.0 %" in text
    assert "Ranges" not in text


# Which arm to keep


def arms(**validation: float | None) -> list[ArmResult]:
    return [ArmResult(name, 0.1, 1.0, {}, Path("runs") / name, value) for name, value in validation.items()]


@pytest.mark.parametrize(
    ("validation", "kept"),
    [
        ({"learned": 0.6, "plain": 0.5, "uniform": 0.4}, "learned"),
        ({"learned": 0.4, "plain": 0.5, "uniform": 0.4}, "plain"),
        ({"learned": 0.5, "plain": 0.5}, "plain"),  # what was learned must earn its place
        ({"learned": 0.4, "plain": 0.3, "shuffled": 0.9}, "learned"),  # a control is not there to be used
        ({"learned": 0.4, "shuffled": 0.3}, None),
        ({"learned": 0.4, "plain": None}, None),
        ({"learned": 0.4}, None),
    ],
)
def test_the_validation_images_choose(validation: dict[str, float | None], kept: str | None) -> None:
    found = preferred(arms(**validation))
    assert (None if found is None else found.name) == kept


def test_the_table_says_which_arm_to_keep_and_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared = arms(learned=0.4, plain=0.5)
    print_summary(tmp_path, compared)
    assert f"The validation images prefer plain: {Path('runs/plain/checkpoints')}" in capsys.readouterr().out
    write_summary(tmp_path / "summary.json", "photos", 0, compared)
    assert json.loads((tmp_path / "summary.json").read_text())["preferred"] == "plain"


# Where to look


def test_only_what_is_there_is_named(tmp_path: Path) -> None:
    assert files_and_commands(tmp_path) == {}
    (tmp_path / "metrics.csv").touch()
    assert files_and_commands(tmp_path) == {"metrics": f"{tmp_path}/metrics.csv"}


def test_every_way_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "my run [1]"
    for name in ("wandb/offline-run-1-a", "wandb/offline-run-2-b", "plain/wandb/offline-run-3-c", "tensorboard"):
        (run / name).mkdir(parents=True)
    for name in ("metrics.csv", "policy.json", "plain/metrics.csv"):
        (run / name).touch()
    print_files(run)
    assert capsys.readouterr().out.splitlines() == [
        f"Files of this run: {run}",
        f"  metrics: {run}/metrics.csv",
        f"  learned policy: {run}/policy.json",
        f"  in the terminal: wandb beta leet '{run}/wandb/offline-run-2-b'",
        f"  upload to W&B: wandb sync '{run}/plain/wandb/offline-run-3-c' '{run}/wandb/offline-run-1-a' "
        f"'{run}/wandb/offline-run-2-b'",
        f"  in the browser: tensorboard --logdir '{run}'",
    ]
