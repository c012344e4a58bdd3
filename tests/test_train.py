"""The real entry point with the real configurations, in this process except where the process matters."""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from augnet import load_policy
from lightning_modules.commands.cli import AugfluenceCLI, main

ROOT = Path(__file__).parents[1]
OTHERS = ("adapt", "sweep")  # they have tests of their own
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path.stem not in OTHERS)
DIGITS = str(ROOT / "configs" / "digits.yaml")
RUN_FILES = {"config.yaml", "hparams.yaml", "metrics.csv", "policy.json", "policy.safetensors", "checkpoints"}
SHORT = "--trainer.limit_train_batches=1"
PICTURES = {"augmentations.png", "ranges.png"}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a command line without arguments of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return tmp_path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder of noise, `train/CLASS/N.png` and `test/CLASS/N.png`."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
    return root


def digits(*arguments: str, folder: Path | str = "runs", epochs: int = 1) -> list[str]:
    """`--config configs/digits.yaml`, small and quiet."""
    return [
        f"--config={DIGITS}",
        f"--run.folder={folder}",
        f"--trainer.max_epochs={epochs}",
        "--run.wandb=disabled",
        "--trainer.enable_progress_bar=false",
        "--data.image_size=16",
        *arguments,
    ]


def of_images(path: Path) -> list[str]:
    return [f"--data.path={path}", "--data.influence_size=8", "--data.val_size=4", "--data.batch_size=8"]


def fails(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with exit code 2; its message."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return str(text[text.index("error: ") :])


# Every configuration


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_runs(config: Path, images: Path, workplace: Path) -> None:
    data = of_images(images) if config.stem == "cifar10" else []
    cli = main(["fit", f"--config={config}", *data, "--run.folder=runs", "--trainer.fast_dev_run=true"])
    settings = yaml.safe_load(config.read_text())
    assert isinstance(cli, AugfluenceCLI)
    assert cli.trainer.global_step == 1
    assert [arm.name for arm in cli.arms] == ["learned", *settings["run"]["compare"]]
    assert set(cli.arms[0].ranges) == set(settings["model"]["ops"])
    assert [path.name for path in workplace.iterdir()] == ["runs"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_print_config_shows_what_would_run(config: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", f"--config={config}", "--model.learner.lr=0.125", "--print_config"])
    assert caught.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["learner"]["lr"] == 0.125
    written = yaml.safe_load(config.read_text())
    written["model"]["learner"]["lr"] = 0.125
    assert contains(printed, written)
    assert list(workplace.iterdir()) == []


def contains(whole: Any, part: Any) -> bool:
    """True if every value of `part` is in `whole`; class names may have got their module."""
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    return bool(whole == part or (isinstance(part, str) and str(whole).endswith(f".{part}")))


# A run, and the commands that read it


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two epochs on digits, compared with plain training."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        patch.chdir(folder)
        more = ("--run.compare=[plain]", "--run.wandb=offline", "--model.learner.warmup=10")
        arguments = digits(*more, folder=folder, epochs=2)
        main(["fit", *arguments, "--trainer.log_every_n_steps=1"])
    return folder / "digits"


def accuracy(cli: AugfluenceCLI, key: str) -> float:
    return float(cli.trainer.callback_metrics[key])


def learned(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The state of the learner in a checkpoint."""
    state: dict[str, Any] = checkpoint["callbacks"]["LearnedAugmentation"]["learner"]
    return state


def test_files_of_a_run(run: Path) -> None:
    assert [path.name for path in run.parent.iterdir()] == ["digits"]
    assert {path.name for path in run.iterdir()} - {"predictions.csv"} == RUN_FILES | PICTURES | {
        "summary.json",
        "plain",
        "wandb",
    }
    assert {path.name for path in (run / "plain").iterdir()} == {"checkpoints", "hparams.yaml", "metrics.csv", "wandb"}
    for folder in (run, run / "plain"):
        assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
        (logged,) = folder.glob("wandb/offline-run-*/*.wandb")
        assert logged.stat().st_size > 1000
    policy = load_policy(run / "policy.json")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert torch.equal(policy.policy.theta, learned(checkpoint)["average"]["policy"]["theta"])


def test_summary_of_a_run(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    accuracies = {"test_accuracy", "validation_accuracy", "preferred"}
    assert set(summary) == {"run", "seed", "ranges", "seconds", "seconds_by_arm"} | accuracies
    assert (summary["run"], summary["seed"]) == ("digits", 0)
    assert set(summary["test_accuracy"]) == {"learned", "plain"}
    assert all(0 < value < 1 for value in summary["test_accuracy"].values())
    validated = summary["validation_accuracy"]
    assert summary["preferred"] == ("learned" if validated["learned"] > validated["plain"] else "plain")
    assert summary["ranges"] == load_policy(run / "policy.json").describe()
    for facts in summary["ranges"].values():
        assert set(facts) == {"half_width", "unit", "bound"}
        assert 0 < facts["half_width"] < facts["bound"]
    assert summary["seconds"] == pytest.approx(sum(summary["seconds_by_arm"].values()), abs=0.02)


def test_metrics_of_a_run(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((run / "summary.json").read_text())
    for key in ("range/rotation", "influence/ihvp_residual", "influence/cg_iters", "policy/retention", "val/acc"):
        assert any(row[key] for row in rows), key
    validated = [float(row["val/acc"]) for row in rows if row["val/acc"]]
    assert validated[-1] == pytest.approx(summary["validation_accuracy"]["learned"], abs=1e-6)
    (tested,) = [float(row["test/acc"]) for row in rows if row["test/acc"]]
    assert tested == pytest.approx(summary["test_accuracy"]["learned"], abs=1e-6)


@pytest.mark.parametrize("arm", ["learned", "plain"])
def test_test_reads_the_checkpoint(run: Path, arm: str, workplace: Path) -> None:
    checkpoint = (run if arm == "learned" else run / arm) / "checkpoints" / "last.ckpt"
    cli = main(["test", *digits(f"--ckpt_path={checkpoint}")])
    summary = json.loads((run / "summary.json").read_text())
    assert accuracy(cli, "test/acc") == pytest.approx(summary["test_accuracy"][arm], abs=1e-6)
    assert cli.model.control == ("none" if arm == "learned" else arm)
    assert list(workplace.iterdir()) == []


def test_validate_reads_the_checkpoint(run: Path, workplace: Path) -> None:
    cli = main(["validate", *digits(f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}")])
    with (run / "metrics.csv").open() as file:
        logged = [float(row["val/acc"]) for row in csv.DictReader(file) if row["val/acc"]]
    assert accuracy(cli, "val/acc") == pytest.approx(logged[-1], abs=1e-6)
    assert list(workplace.iterdir()) == []


def test_predict_reads_the_checkpoint(run: Path, workplace: Path) -> None:
    cli = main(["predict", *digits(f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}")])
    predictions: Any = cli.trainer.predict_loop.predictions
    probabilities = torch.cat(predictions)
    assert probabilities.shape == (397, 10)
    labels = torch.cat([labels for _, labels in cli.datamodule.predict_dataloader()])
    expected = json.loads((run / "summary.json").read_text())["test_accuracy"]["learned"]
    assert (probabilities.argmax(dim=1) == labels).float().mean().item() == pytest.approx(expected, abs=1e-6)
    assert list(workplace.iterdir()) == []
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["predicted"]) for row in rows] == probabilities.argmax(dim=1).tolist()
    assert rows[0]["source"].startswith("row ")
    written = torch.tensor([[float(row[str(digit)]) for digit in range(10)] for row in rows])
    torch.testing.assert_close(written, probabilities, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_saved_configuration_repeats_the_run(run: Path, workplace: Path) -> None:
    cli = main(
        [
            "fit",
            f"--config={run / 'config.yaml'}",
            f"--run.folder={workplace}",
            "--run.compare=[]",
            "--run.wandb=disabled",
        ]
    )
    first, second = (json.loads((folder / "summary.json").read_text()) for folder in (run, workplace / "digits"))
    assert second["test_accuracy"]["learned"] == first["test_accuracy"]["learned"]
    assert second["ranges"] == first["ranges"]
    assert [arm.name for arm in cli.arms] == ["learned"]


@pytest.mark.slow
def test_training_anew_with_the_policy_file(run: Path) -> None:
    """The comparison is with training without it."""
    policy = run / "policy.json"
    cli = main(["fit", *digits(f"--model.policy_file={policy}", "--run.compare=[plain]", SHORT)])
    assert cli.arms[0].ranges == load_policy(policy).describe()
    assert [arm.name for arm in cli.arms] == ["learned", "plain"]
    assert cli.arms[1].ranges == {}


@pytest.mark.slow
def test_a_comparison_is_the_run_it_stands_for(run: Path) -> None:
    """The accuracy is the same; a run is not compared with itself."""
    cli = main(["fit", *digits("--model.control=plain", "--run.compare=[plain]", epochs=2)])
    assert [arm.name for arm in cli.arms] == ["plain"]
    compared = json.loads((run / "summary.json").read_text())["test_accuracy"]["plain"]
    assert cli.arms[0].test_accuracy == pytest.approx(compared, abs=1e-6)


@pytest.mark.slow
def test_interrupted_run_is_taken_up(run: Path, workplace: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    before = learned(torch.load(checkpoint, weights_only=True))["updates"]
    resuming = (f"--ckpt_path={checkpoint}", "--run.compare=[]", "--model.learner.warmup=10")
    cli = main(["fit", *digits(*resuming, epochs=2)])
    assert before == 5
    assert cli.model.learner is not None
    assert cli.model.learner.updates == before
    assert cli.trainer.global_step == 30
    assert (workplace / "runs" / "digits" / "policy.json").exists() is False  # no epoch was left to train


# Mistakes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "--model.model=lightning_modules.classifier.models.WideResnet",
            "no class or function 'WideResnet'. Did you mean WideR",
        ),
        ("--model.ops={rotatoin: 3.0}", "unknown op 'rotatoin'; did you mean rotation"),
        ("--model.ops={rotation: -3.0}", "ops: the bound of 'rotation' .* must be > 0 .*found -3.0"),
        ("--model.ops={hue: 3.0}", "ops: hue need images with 3 channels"),
        ("--model.control=inverted", "model.control: expected one of 'none', 'plain', 'uniform'.* found inverted"),
        ("--model.learner.interval=0", r"learner\.interval must lie in .*found 0"),
        ("--model.label_smoothing=1.5", "label_smoothing must lie in"),
        ("--model.policy_file=missing.json", "policy_file: there is no file missing.json"),
        ("--model.policy_file=other.json", "other.json: policy file of version 99, this augfluence reads version"),
        ("--data.influence_size=5000", "influence_size=5000.*but there are 1797"),
        ("--ckpt_path=missing.ckpt", "ckpt_path: there is no checkpoint missing.ckpt"),
        ("--trainer.limit_train_batches=-1.0", "trainer.limit_train_batches must be > 0 .*found -1.0"),
        ("--run.wandb=sometimes", "run.wandb: expected one of .*found sometimes"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    argument: str, message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "other.json").write_text('{"format": "augfluence-policy", "version": 99}')
    assert_match(message, fails(["fit", *digits(argument)], capsys))
    runs = workplace / "runs"
    assert not runs.exists() or not list(runs.iterdir())
    assert {path.name for path in workplace.iterdir()} <= {"other.json", "runs"}


def assert_match(pattern: str, text: str) -> None:
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(text)


def test_missing_data_path(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "configs" / "cifar10.yaml")
    message = fails(["fit", f"--config={config}", "--data.path=no/such/folder", "--run.folder=runs"], capsys)
    assert_match("path='no/such/folder' does not exist", message)
    assert list(workplace.iterdir()) == []


def test_model_without_a_head_leaves_nothing_behind(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning_modules.classifier.models.SmallConvNet", convolutions)
    assert_match("no torch.nn.Linear ran in the model", fails(["fit", *digits("--model.model_kwargs=null")], capsys))
    assert list(workplace.iterdir()) == []


def convolutions(num_classes: int, in_channels: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(in_channels, num_classes, 16), torch.nn.Flatten())


def test_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGFLUENCE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="unknown op"):
        main(["fit", *digits("--model.ops=[rotatoin]")])


@pytest.mark.slow
def test_the_script_itself(workplace: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "fit", *digits("--model.ops=[rotatoin]")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=workplace, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: unknown op 'rotatoin'; did you mean rotation?")
    assert len(done.stderr.splitlines()) == 2
    assert done.stdout == ""
    assert list(workplace.iterdir()) == []


# The purpose


@pytest.mark.slow
def test_the_policy_finds_the_rotation(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Upright digits, deployed rotated by up to 45 degrees: rotation is found, and grows more than the other ops.

    A single range that does no harm varies from seed to seed (brightness: 5 to 57 % of its bound), so these are held to
    their mean.
    """
    main(["fit", *digits("--data.image_size=20", "--run.compare=[plain]", epochs=18)])
    summary = json.loads((workplace / "runs" / "digits" / "summary.json").read_text())
    assert summary["test_accuracy"]["learned"] >= summary["test_accuracy"]["plain"] + 0.3
    ranges = summary["ranges"]
    assert 25 < ranges["rotation"]["half_width"] < 75
    shares = {name: facts["half_width"] / facts["bound"] for name, facts in ranges.items()}
    rotation = shares.pop("rotation")
    assert sum(shares.values()) / len(shares) < rotation / 1.5
    table = capsys.readouterr().out
    assert f"{100 * summary['test_accuracy']['learned']:.1f} %" in table
    assert "rotation" in table


def test_comparison_needs_the_test_split(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run.compare needs the test split" in fails(["fit", *digits("--run.test=false", folder=workplace)], capsys)
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_a_trained_model_is_needed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{command} needs a trained model: --ckpt_path" in fails([command, *digits()], capsys)
