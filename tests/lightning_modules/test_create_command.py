"""`augfluence create`: what it finds in folders, what it writes and refuses, and that `fit` takes it."""

import csv
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from image_files import write_image_folder
from PIL import Image
from sklearn.datasets import load_digits

from augfluence.__main__ import main
from lightning_modules.commands.creation.sizes import choose_side, choose_sizes
from lightning_modules.data.decoding import Probe
from lightning_modules.data.folder_facts import FolderFacts, InfluenceFacts

ROOT = Path(__file__).parents[2]
FEW_STEPS = [
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=6",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false",
    "--model.learner.warmup=1",
    "--model.learner.interval=2",
    "--run.wandb=disabled",
]


def write_digits(folder: Path, counts: dict[str, int], start: int = 0, mode: str = "L", side: int = 16) -> None:
    """Write so many of the digits `name[-1]` of scikit-learn into `folder/name`, from number `start` of them on."""
    digits = load_digits()
    pixels = (digits.images * 255 / 16).astype(np.uint8)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row in np.flatnonzero(digits.target == int(name[-1]))[start : start + count]:
            Image.fromarray(pixels[row]).convert(mode).resize((side, side)).save(folder / name / f"{row}.png")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["augfluence", *map(str, arguments)])
    main()


def created(monkeypatch: pytest.MonkeyPatch, file: Path, *arguments: object) -> dict[str, Any]:
    """What `create` writes into a file, as YAML."""
    run(monkeypatch, "create", *arguments, "--output", file)
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path, *arguments: object) -> str:
    """The one line that `create` says when it refuses; it writes nothing."""
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "create", *arguments, "--output", file)
    assert ended.value.code == 2
    assert not file.exists()
    line, *hint = capsys.readouterr().err.strip().splitlines()
    assert all(text.startswith("(AUGFLUENCE_TRACEBACK=1") for text in hint)
    return line


def test_it_says_what_the_folder_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits(tmp_path / "photos" / "train", {"d3": 100, "d5": 100, "d8": 20})
    write_digits(tmp_path / "photos" / "val", {"d3": 7, "d5": 7, "d8": 7}, 100)
    write_digits(tmp_path / "photos" / "test", {"d3": 9, "d5": 9, "d8": 9}, 110)
    write_digits(tmp_path / "there", {"d3": 12, "d5": 12, "d8": 3}, 120, "RGB", 12)
    config = created(monkeypatch, tmp_path / "c.yaml", tmp_path / "photos", "--influence", tmp_path / "there")
    data = config["data"]["init_args"]
    assert data["path"] == str(tmp_path / "photos")
    assert data["influence_path"] == str(tmp_path / "there")
    assert (data["image_size"], data["influence_size"], data["val_size"], data["test_size"]) == (16, 27, 21, None)
    assert data["batch_size"] == 16  # 220 images: the largest batch with ten steps an epoch
    assert config["model"]["model"].endswith("SmallConvNet")
    assert config["model"]["samples"] == {"weights": True}  # 5 to 1, and the influence set has every class
    assert not {"saturation", "hue"} & set(config["model"]["ops"])
    assert config["model"]["base_policy"] == "none"
    assert config["run"] == {"name": "photos", "compare": ["plain"], "test": True, "wandb": "offline"}
    shown = capsys.readouterr().out
    for text in (
        "220 images in 3 classes, gray, 16 x 16 pixels (64 were opened)",
        "d3 100, d5 100, d8 20",
        "d3 has 5 times the images of d8",
        "validation split: 21 images",
        "test split: 27 images",
        "27 images of",
        "It fits: it has images of every class",
        "Fewer than five of d8 (3)",
        "Its images are RGB and become gray",
        "smaller, 12 pixels",
    ):
        assert text in shown
        assert text in " ".join((tmp_path / "c.yaml").read_text().replace("\n#", " ").split())


def test_a_test_split_that_does_not_show_deployment_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits(tmp_path / "photos", {"d3": 30, "d5": 30})
    write_digits(tmp_path / "there", {"d3": 6, "d5": 6}, 120)
    created(monkeypatch, tmp_path / "c.yaml", tmp_path / "photos", "--influence", tmp_path / "there")
    assert "The test images are then like the training images" in capsys.readouterr().out


def test_mean_and_deviation_are_those_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_digits(tmp_path / "photos", {"d1": 20, "d2": 20}, side=8)  # few enough to be opened all, at their own size
    config = created(monkeypatch, tmp_path / "c.yaml", tmp_path / "photos")
    pixels = np.stack([np.asarray(Image.open(file)) for file in (tmp_path / "photos").rglob("*.png")]) / 255
    assert config["model"]["pixel_mean"] == pytest.approx([pixels.mean()], abs=6e-4)
    assert config["model"]["pixel_std"] == pytest.approx([pixels.std()], abs=6e-4)


def test_the_folders_are_those_that_the_data_module_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "photos"
    write_image_folder(root / "train", {"cat": 40, "dog": 40}, size=(60, 44))
    write_image_folder(root / "valid", {"cat": 5, "dog": 5}, seed=1, size=(60, 44))
    write_image_folder(root / "Deployment", {"cat": 6}, seed=2, size=(60, 44))
    with pytest.warns(UserWarning, match="not read in .*Deployment"):
        config = created(monkeypatch, tmp_path / "c.yaml", root)
    shown = capsys.readouterr().out
    assert "The test split: 10 images of its folder" in shown  # the only one beside `train` is the test split
    assert "The validation split: cut off" in shown
    assert "like the training images" not in shown
    assert "It does not fit as a whole: it has no image of dog" in shown
    assert config["data"]["init_args"]["influence_path"] == str(root / "Deployment")
    assert config["data"]["init_args"]["image_size"] is None  # all are 60 x 44
    assert config["model"]["model"] == "timm/resnet18"
    assert config["model"]["model_kwargs"] == {"pretrained": True}
    assert config["model"]["base_policy"] == "flip_crop"
    with pytest.warns(UserWarning, match="not read in"):
        scratch = created(monkeypatch, tmp_path / "c.yaml", root, "--scratch", "--overwrite", "--name", "other")
    assert (scratch["model"]["model_kwargs"], scratch["run"]["name"]) == (None, "other")
    assert scratch["model"]["optimizer"]["init_args"]["lr"] > config["model"]["optimizer"]["init_args"]["lr"]


def test_a_test_split_without_labels_is_not_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path / "photos" / "train", {"cat": 20, "dog": 20})
    write_image_folder(tmp_path / "photos", {"test": 6}, seed=1)
    config = created(monkeypatch, tmp_path / "c.yaml", tmp_path / "photos")
    assert (config["run"]["test"], config["run"]["compare"]) == (False, [])


def test_a_list_of_images_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path / "images", {"cat": 20, "dog": 20})
    with (tmp_path / "list.csv").open("w", newline="") as file:
        rows = [[path.relative_to(tmp_path), path.parent.name] for path in sorted(tmp_path.rglob("*.png"))]
        csv.writer(file).writerows([["path", "label"], *rows])
    config = created(monkeypatch, tmp_path / "c.yaml", tmp_path / "list.csv")
    assert config["data"]["init_args"]["path"] == str(tmp_path / "list.csv")


def test_every_choice_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path / "photos", {"cat": 20, "dog": 20}, size=(50, 50))
    created(monkeypatch, tmp_path / "c.yaml", tmp_path / "photos")
    lines = (tmp_path / "c.yaml").read_text().splitlines()
    known = {"log_every_n_steps", "enable_model_summary", "class_path", "translate_y", "path", "test"}
    bare = [
        match[1]
        for above, line in pairwise(lines)
        if (match := re.match(r"\s*(\w+): \S", line)) and "#" not in line and not above.strip().startswith("#")
    ]
    assert set(bare) - {"init_args"} <= known


def test_what_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    good = write_image_folder(tmp_path / "good", {"cat": 20, "dog": 20})
    sites = tmp_path / "sites"
    for site in ("north", "south"):
        write_image_folder(sites / site, {"cat": 4, "dog": 4})
    (tmp_path / "empty").mkdir()
    broken = write_image_folder(tmp_path / "broken", {"cat": 20, "dog": 20})
    (broken / "cat" / "0.png").write_bytes(b"no image")
    inside = write_image_folder(tmp_path / "inside", {"cat": 20, "dog": 20})
    write_image_folder(inside / "influence", {"cat": 4, "dog": 4})
    others = write_image_folder(tmp_path / "others", {"cat": 4, "bird": 4})
    few = write_image_folder(tmp_path / "few", {"cat": 20, "dog": 1})
    one = write_image_folder(tmp_path / "one", {"cat": 20})
    for message, *arguments in (
        ("FOLDER: there is no .*/goood; the last folder on that path that exists is", tmp_path / "goood"),
        ("--influence: there is no", good, "--influence", tmp_path / "goood"),
        ("north, south in .* look like sites or splits and not like classes", sites),
        ("holds neither parquet files nor an image folder", tmp_path / "empty"),
        ("cannot read image .*/cat/0.png .*: mend or remove it", broken),
        ("influence lies among the class folders.*--influence influence", inside),
        ("classes that the training data lack: bird", good, "--influence", others),
        ("class 'dog' has a single image left", few),
        ("has one class only", one),
        ("unrecognized arguments: --size", good, "--size"),
    ):
        line = refused(monkeypatch, capsys, file, *arguments)
        assert line.startswith("error: ")
        assert re.search(message, line), line


def test_a_file_that_is_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image_folder(tmp_path / "my photos", {"cat": 20, "dog": 20})
    file = tmp_path / "my-photos.yaml"
    file.write_text("mine")
    with pytest.raises(SystemExit):
        run(monkeypatch, "create", "my photos")
    assert "my-photos.yaml is there already: --overwrite replaces it" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # a mistake that is found after a while leaves the file too
        run(monkeypatch, "create", tmp_path, "--overwrite", "--output", file)
    assert file.read_text() == "mine"
    run(monkeypatch, "create", "my photos", "--overwrite")
    assert yaml.safe_load(file.read_text())["run"]["name"] == "my-photos"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my photos", "my-photos.yaml"]


WITHOUT_LIBRARIES = """
import sys
from augfluence.__main__ import main
try:
    main()
finally:
    print(*sorted({"torch", "datasets", "numpy", "jsonargparse"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["create", "nowhere"], ["create"], ["create", "--help"]])
def test_a_mistake_is_said_before_libraries_load(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_LIBRARIES, *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if "--help" in arguments else 2)
    assert done.stderr.splitlines()[-1] == ""


def facts(count: int, classes: int, size: tuple[int, int], influence: int = 0) -> FolderFacts:
    names = [f"class {number}" for number in range(classes)]
    counts = dict.fromkeys(names, count // classes)
    probe = Probe(3, (size,) * 4)
    own = InfluenceFacts("/there", dict.fromkeys(names, influence), probe) if influence else None
    return FolderFacts("/here", counts, probe, (0.5,) * 3, (0.25,) * 3, {}, influence=own)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("count", [2_000, 20_000, 1_000_000])
def test_sizes_fit_the_images(count: int, classes: int) -> None:
    for pretrained in (False, True):
        sizes = choose_sizes(facts(count, classes, (64, 64)), pretrained)
        assert sizes.train + sizes.influence + sizes.validation + count // 5 == count
        assert min(sizes.influence, sizes.validation) >= classes
        assert sizes.steps_per_epoch >= 10
        assert 10 <= sizes.epochs <= 100
        deployment = choose_sizes(facts(count, classes, (64, 64), influence=50), pretrained)
        assert deployment.influence == min(2000, 50 * classes)


@pytest.mark.parametrize(
    ("size", "side"), [((8, 8), 8), ((28, 28), 28), ((100, 60), None), ((640, 480), 128), ((130, 120), 96)]
)
def test_side_of_the_images(size: tuple[int, int], side: int | None) -> None:
    assert choose_side(facts(1000, 2, size)).value == side


@pytest.mark.slow
def test_fit_takes_the_configuration_of_gray_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path / "photos", {f"d{digit}": 40 for digit in range(10)}, side=28)
    run(monkeypatch, "create", "photos")
    run(monkeypatch, "fit", "--config", "photos.yaml", *FEW_STEPS)
    assert {path.name for path in (tmp_path / "runs" / "photos").iterdir()} >= {"policy.json", "summary.json", "plain"}


@pytest.mark.slow
def test_fit_takes_the_configuration_of_unequal_colored_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_digits(Path("photos/train"), {"d3": 60, "d5": 12}, 0, "RGB", 48)
    write_digits(Path("photos/validation"), {"d3": 4, "d5": 4}, 60, "RGB", 48)
    write_digits(Path("photos/test"), {"d3": 4, "d5": 4}, 70, "RGB", 48)
    write_digits(Path("there"), {"d3": 8, "d5": 8}, 80, "RGB", 40)
    run(monkeypatch, "create", "photos", "--influence", "there", "--scratch")
    run(monkeypatch, "fit", "--config", "photos.yaml", *FEW_STEPS, "--run.compare=[]")
    with Path("runs/photos/samples.csv").open() as file:
        weights = [float(row["weight"]) for row in csv.DictReader(file)]
    assert len(weights) == 72
    assert max(weights) / min(weights) > 2  # the rare class is drawn more often
