"""`train.py adapt` with its configuration, on the digits."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lightning_modules.adaptation.adaptation_summary import AdaptationSummary
from lightning_modules.adaptation.change import Change
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.cli import AugfluenceCLI, main
from lightning_modules.commands.trainer import AugfluenceTrainer
from lightning_modules.data import DigitsDataModule

pytestmark = pytest.mark.slow  # whole runs and commands

ROOT = Path(__file__).parents[2]
ADAPT = str(ROOT / "configs" / "adapt.yaml")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return tmp_path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on upright digits."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        main(
            [
                "fit",
                f"--config={ROOT / 'configs' / 'digits.yaml'}",
                f"--run.folder={folder}",
                "--run.compare=[]",
                "--run.wandb=disabled",
                "--run.test=false",
                "--data.image_size=16",
                "--data.deployment_rotation=0",
                "--model.control=plain",
                "--trainer.max_epochs=6",
                "--trainer.enable_progress_bar=false",
            ]
        )
    return folder / "digits"


def adapt(run: Path, *arguments: str) -> tuple[AugfluenceCLI, dict[str, Any]]:
    """Run the command; its summary."""
    words = [f"--config={run / 'config.yaml'}", f"--config={ADAPT}", "--folder=adapted", *arguments]
    cli = main(["adapt", *words, f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"])
    (file,) = Path().glob("adapted/summary.json")
    return cli, json.loads(file.read_text())


def rows(count: int = 100) -> str:
    Path("rows.txt").write_text("\n".join(str(10 * row) for row in range(count)))
    return "rows.txt"


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


def test_removal_leaves_a_checkpoint_that_the_other_commands_read(run: Path) -> None:
    _, summary = adapt(run, f"--change.remove={rows()}")
    assert set(summary) == set(AdaptationSummary.__dataclass_fields__)
    assert (summary["change"], summary["images"]) == ({"remove": "rows.txt"}, 100 + 90)
    assert summary["val_after"] > summary["val_before"] - 0.05
    checkpoint = Path("adapted/checkpoints/last.ckpt")
    cli = main(["test", f"--config={run / 'config.yaml'}", f"--ckpt_path={checkpoint}"])
    assert float(cli.trainer.callback_metrics["test/acc"]) == pytest.approx(summary["test"], abs=1e-6)
    old, new = weights(run / "checkpoints" / "last.ckpt"), weights(checkpoint)
    assert torch.equal(old["network.1.body.1.running_mean"], new["network.1.body.1.running_mean"])
    assert not torch.equal(old["network.1.head.weight"], new["network.1.head.weight"])
    assert {path.name for path in Path().iterdir()} == {"rows.txt", "adapted"}


def test_weight_decay_shrinks_the_network_and_is_on_the_record(run: Path) -> None:
    adapt(run, "--change.weight_decay=0.02", "--memory=0.3")
    checkpoint = Path("adapted/checkpoints/last.ckpt")
    old, new = (
        sum(float(value.norm()) for name, value in weights(path).items() if name.endswith("weight"))
        for path in (run / "checkpoints/last.ckpt", checkpoint)
    )
    assert new < 0.95 * old
    assert torch.load(checkpoint, weights_only=True)["optimizer_states"][0]["param_groups"][0]["weight_decay"] == 0.02


@pytest.mark.slow
def test_added_folder_teaches_what_it_shows(run: Path) -> None:
    """Digits upside down: adapting helps on them, and the upright ones are not forgotten."""
    data = DigitsDataModule(image_size=16, deployment_rotation=0)
    images, labels = data.splits.influence.everything()
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        folder = Path("flipped") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0].flip(0).flip(1) * 255).byte().numpy()).save(folder / f"{number}.png")
    cli, summary = adapt(run, "--change.add=flipped", "--memory=0.3", "--trainer.max_epochs=20")
    turned = images.flip(2).flip(3)
    adapted = type(cli.model).load_from_checkpoint("adapted/checkpoints/last.ckpt", weights_only=True).eval()
    accuracy = [float((model.eval()(turned).argmax(1) == labels).float().mean()) for model in (cli.model, adapted)]
    assert accuracy[1] > accuracy[0] + 0.2
    assert summary["val_after"] > summary["val_before"] - 0.1
    assert summary["change"] == {"add": "flipped"}


@pytest.mark.slow
def test_distillation_into_another_network_and_policy(run: Path, workplace: Path) -> None:
    main(
        [
            "fit",
            f"--config={run / 'config.yaml'}",
            "--run.folder=other",
            "--run.test=false",
            "--model.control=none",
            "--trainer.max_epochs=1",
        ]
    )
    words = ["--change.model=lightning_modules.classifier.models.SmallConvNet", "--change.model_kwargs={width: 4}"]
    policy = "--change.policy_file=other/digits/policy.json"
    _, summary = adapt(run, *words, policy, "--memory=1", "--model.optimizer.init_args.lr=0.1", "--test=false")
    assert summary["test"] is None
    assert summary["val_after"] > 0.3
    checkpoint = torch.load("adapted/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["model_kwargs"] == {"width": 4}
    learned = torch.load("other/digits/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(checkpoint["state_dict"]["augnet.policy.theta"], learned["augnet.policy.theta"])


@pytest.mark.parametrize("method", ["replay", "fine_tune", "retrain"])
def test_other_methods(method: str, run: Path) -> None:
    _, summary = adapt(run, f"--change.add={rows()}", f"--method={method}", "--trainer.max_epochs=1")
    assert summary["images"] == {"replay": 90 + 100, "fine_tune": 100, "retrain": 1000}[method]


def test_top_selection_takes_the_uncertain(run: Path) -> None:
    _, summary = adapt(run, f"--change.remove={rows()}", "--selection=top", "--trainer.max_epochs=1")
    assert (summary["selection"], summary["images"]) == ("top", 190)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--change.remove=missing.txt"], "change.remove: there is no file missing.txt"),
        (["--change.weight_decay=0.1", "--data.influence_size=5000"], "influence_size=5000"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    arguments: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        adapt(run, *arguments)
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text
    assert not Path("adapted").exists()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {}, "nothing is to change: give change.add, change.remove"),
        ({"add": "no/such/folder"}, {}, "change.add='no/such/folder' does not exist"),
        ({"weight_decay": -1.0}, {}, "change.weight_decay must be at least 0, found -1.0"),
        ({"policy_file": "missing.json"}, {}, "change.policy_file: there is no file missing.json"),
        ({"model_kwargs": {"width": 4}, "weight_decay": 0.1}, {}, "change.model_kwargs are those of change"),
        ({"weight_decay": 0.1}, {"memory": 0.0}, "memory must lie in"),
        ({"weight_decay": 0.1}, {"method": "fine_tune"}, "fine_tune trains on added images alone"),
        ({"remove": "few.txt", "add": "few.txt"}, {}, "share rows, [1, 2] first"),
    ],
)
def test_other_mistakes_leave_nothing_behind(
    change: dict[str, Any], arguments: dict[str, Any], message: str, run: Path
) -> None:
    Path("few.txt").write_text("1\n2\n")
    checkpoint = run / "checkpoints" / "last.ckpt"
    silent: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = AugfluenceTrainer(accelerator="cpu", max_epochs=1, **silent)
    model = AugmentedClassifier.load_from_checkpoint(checkpoint, map_location="cpu")
    data = DigitsDataModule(image_size=16, deployment_rotation=0)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):  # one line on the command line
        trainer.adapt(model, data, checkpoint, Change(**change), folder="adapted", **arguments)
    assert not Path("adapted").exists()


def test_a_trained_model_is_needed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["adapt", f"--config={run / 'config.yaml'}", f"--config={ADAPT}", "--change.weight_decay=0.1"])
    assert "ckpt_path" in capsys.readouterr().err
