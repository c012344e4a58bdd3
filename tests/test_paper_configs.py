"""Every experiment of the paper through the real entry point, for a few steps on small data in the same format."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from augnet import FieldPolicy, load_policy
from lightning_modules.commands.cli import AugfluenceCLI, main
from lightning_modules.commands.run_setup import bf16_is_emulated

FOLDER = Path(__file__).parents[1] / "configs" / "paper"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
LARGE = ("pyramidnet272_shakedrop", "shakeshake26_2x96d", "wrn28_10")  # on CIFAR-10 and CIFAR-100
TRAINED = [config for config in CONFIGS if config.stem not in {f"cifar10_{name}" for name in LARGE}]
FIGURES = {  # as quoted by the re-implementation, JohnR31N/IF-AugNet, configs/paper_targets.yaml
    "cifar10_resnet56": "5.2 % test error",
    "cifar10_resnet56_10percent": "17.7 % test error",
    "cifar10_wrn28_10": "2.8 % test error",
    "cifar10_shakeshake26_2x96d": "2.1 % test error",
    "cifar10_pyramidnet272_shakedrop": "1.7 % test error",
    "cifar100_resnet56": "29.6 % test error",
    "cifar100_wrn28_10": "17.3 % test error",
    "cifar100_shakeshake26_2x96d": "14.6 % test error",
    "cifar100_pyramidnet272_shakedrop": "11.9 % test error",
    "imagenet_resnet50": "77.1 % top-1 and 93.4 % top-5 accuracy",
    "imagenet_resnet200": "79.0 % top-1 and 94.6 % top-5 accuracy",
    "mnist_1percent": "3.1 % test error",
    "mnist_10percent": "0.8 % test error",
}
SHORT = [
    "--run.folder=runs",
    "--run.compare=[]",
    "--run.wandb=disabled",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.enable_progress_bar=false",
    "--model.staged.steps=2",
    "--model.staged.pretrain=1",
    "--data.train_size=4",
    "--data.influence_size=4",
    "--data.val_size=4",
    "--data.batch_size=2",
    "--data.num_workers=0",
]


def noise(rng: np.random.Generator, *shape: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))


def write_tables(folder: Path, image: str, labels: dict[str, int], *shape: int) -> None:
    """Parquet files with images as PNG bytes; few of the classes have any images, so that few are enough."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 4)):
        columns: dict[str, list[Any]] = {image: [noise(rng, *shape) for _ in range(count)]}
        features: dict[str, Any] = {image: datasets.Image()}
        for label, classes in labels.items():
            columns[label] = [(0, 1, classes // 2, classes - 1)[row % 4] for row in range(count)]
            features[label] = datasets.ClassLabel(names=[f"{label} {number}" for number in range(classes)])
        table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        table.to_parquet(str(folder / f"{split}.parquet"))


def write_photographs(folder: Path) -> None:
    """An image folder as ImageNet comes, `train/CLASS/N.JPEG` and `val/CLASS/N.JPEG`, no two of one size."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 1)):
        for number in range(4 * count):
            place = folder / split / f"n0{number % 4}"
            place.mkdir(parents=True, exist_ok=True)
            noise(rng, 70 + number, 90 - number, 3).save(place / f"{number}.JPEG")


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Noise with the columns, sizes and classes of each data set."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("cifar10", "cifar100", "imagenet", "mnist")}
    write_tables(folders["cifar10"], "img", {"label": 10}, 32, 32, 3)
    write_tables(folders["cifar100"], "img", {"fine_label": 100, "coarse_label": 20}, 32, 32, 3)
    write_tables(folders["mnist"], "image", {"label": 10}, 28, 28)
    write_photographs(folders["imagenet"])
    return folders


def _of_a_large_network(config: Path) -> Any:
    """Return a parameter that takes long where the network does."""
    large = any(name in config.stem for name in (*LARGE, "resnet200"))
    return pytest.param(config, marks=[pytest.mark.long] if large else [], id=config.stem)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the influence set has no image of:UserWarning")  # it has four images
@pytest.mark.filterwarnings("ignore:cg stopped after", "ignore:The policy was left as it is")  # which are certain
@pytest.mark.parametrize("config", [_of_a_large_network(config) for config in TRAINED])
def test_every_network_runs(
    config: Path, stand_ins: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    data = config.stem.split("_")[0]
    size = ["--data.image_size=64"] if data == "imagenet" else []
    small = data == "mnist" or "resnet56" in config.stem
    saved = [f"--trainer.enable_checkpointing={str(small).lower()}"]  # the others are up to 300 MB each
    precision = ["--trainer.precision=32-true"] if bf16_is_emulated() else []  # 7 times as fast there
    more = [*SHORT, *size, *saved, *precision]
    cli = main(["fit", f"--config={config}", f"--data.path={stand_ins[data]}", *more])
    assert isinstance(cli, AugfluenceCLI)
    assert cli.trainer.global_step >= 1
    assert [arm.name for arm in cli.arms] == ["learned", "plain"]  # the first stage trained without the policy
    assert all(0 <= arm.test_accuracy <= 1 for arm in cli.arms)
    assert cli.datamodule.num_classes == {"cifar10": 10, "cifar100": 100, "imagenet": 4, "mnist": 10}[data]
    assert all(bool(parameter.isfinite().all()) for parameter in cli.model.network.parameters())
    run = tmp_path / "runs" / config.stem
    for stage in (run, run / "retrained"):
        assert (stage / "checkpoints" / "last.ckpt").exists() == small
    policy = load_policy(run / "policy.json")
    assert isinstance(policy.policy, FieldPolicy)
    assert all(bool(value.isfinite().all()) for value in policy.state_dict().values())
    policy(torch.rand(2, *cli.datamodule.splits.influence[0][0].shape))


def test_the_other_experiments_are_trained_ones_on_other_data() -> None:
    """Large networks are trained on CIFAR-100; CIFAR-10 changes the fields it changes for the small one, alike."""
    fields, others = fields_of("cifar10_resnet56"), set(CONFIGS) - set(TRAINED)
    of_data = changed(fields, fields_of("cifar100_resnet56")) - {"run.name"}
    assert {config.stem for config in others} == {f"cifar10_{name}" for name in LARGE}
    for name in LARGE:
        found, twin = fields_of(f"cifar10_{name}"), fields_of(f"cifar100_{name}")
        assert changed(found, twin) - {"run.name"} == of_data
        assert {key: found[key] for key in of_data} == {key: fields[key] for key in of_data}


def fields_of(name: str) -> dict[str, Any]:
    """All fields of a file by their dotted names."""

    def flat(part: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in part.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    return dict(flat(settings(FOLDER / f"{name}.yaml")))


def changed(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    return {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}


def test_every_experiment_of_the_paper_has_a_file() -> None:
    assert {config.stem for config in CONFIGS} == set(FIGURES)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_the_header_names_the_figure_and_where_it_is_from(config: Path) -> None:
    lines = config.read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    header = " ".join(line.lstrip("# ") for line in lines[:end])
    assert f"The paper's figure: {FIGURES[config.stem]}" in header
    assert "Second-hand" in header
    assert "Not as in the paper:" in header
    assert f"--config configs/paper/{config.name}" in header
    assert ("read here as per cent of the labels" in header) == ("resnet56" in config.stem)


def settings(config: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(config.read_text())
    assert isinstance(loaded, dict)
    return loaded


def keys(part: dict[str, Any], prefix: str = "") -> list[str]:
    """The names of all fields in the order of the file; what differs between networks and optimizers counts as one."""
    found = []
    for key, value in part.items():
        found.append(prefix + key)
        if isinstance(value, dict) and key not in ("model_kwargs", "optimizer"):
            found += keys(value, f"{prefix}{key}.")
    return found


def test_all_files_have_the_same_fields_in_the_same_order() -> None:
    first, *others = CONFIGS
    for other in others:
        assert keys(settings(other)) == keys(settings(first)), other.name


def test_every_file_is_another_experiment() -> None:
    """No two have the same network, data and share of the labels; each run has the name of its file."""
    experiments = Counter()  # type: ignore[var-annotated]
    for config in CONFIGS:
        found = settings(config)
        data = found["data"]["init_args"]
        experiments[found["model"]["model"], data["path"], data["train_size"]] += 1
        assert found["run"]["name"] == config.stem
    assert set(experiments.values()) == {1}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_milestones_are_the_epochs_of_the_comment(config: Path) -> None:
    (line,) = [line for line in config.read_text().splitlines() if line.startswith("  lr_milestones:")]
    found = settings(config)
    epochs = found["trainer"]["max_epochs"]
    stated = re.search(r"# epochs ([\d, and]+) of (\d+)$", line)
    if stated is None:
        assert found["model"]["lr_schedule"] == "cosine" or line.endswith("# ours")
        return
    assert int(stated[2]) == epochs
    milestones = [round(share * epochs) for share in found["model"]["lr_milestones"]]
    assert milestones == [int(epoch) for epoch in re.findall(r"\d+", stated[1])]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_step_sees_the_batch_of_the_paper(config: Path) -> None:
    found = settings(config)
    batch = found["data"]["init_args"]["batch_size"] * found["trainer"]["accumulate_grad_batches"]
    assert batch == (4096 if "imagenet" in config.stem else 64 if "pyramidnet" in config.stem else 128)
