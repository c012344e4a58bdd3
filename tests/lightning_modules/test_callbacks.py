import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import wandb
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from toys import CLASSES, OPS, ToyData, toy_classifier, toy_trainer

from augnet import load_policy
from lightning_modules.callbacks import PolicyPictures, PolicyWriter
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier

FILES = ("policy.json", "policy.safetensors", "augmentations.png", "ranges.png")


def fit(folder: Path, *callbacks: pl.Callback, epochs: int = 2, **model: Any) -> AugmentedClassifier:
    classifier = toy_classifier(**model)
    trainer = toy_trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
    )
    trainer.fit(classifier, datamodule=ToyData())
    return classifier


def shares(model: AugmentedClassifier) -> dict[str, Any]:
    """Half-widths as fractions of the bounds."""
    assert model.learned is not None
    return {
        name: pytest.approx(float(facts["half_width"]) / float(facts["bound"]), rel=1e-4)
        for name, facts in model.learned.describe().items()
    }


def check_picture(path: Path) -> None:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert 400 < pixels.shape[1] < 2000
    assert 300 < pixels.shape[0] < 2000
    assert len(np.unique(pixels)) > 20


# Policy files


def test_policy_file_is_that_of_the_last_epoch(tmp_path: Path) -> None:
    model = fit(tmp_path, PolicyWriter())
    assert model.learned is not None
    loaded = load_policy(tmp_path / "policy.json")
    assert torch.equal(loaded.policy.theta, model.learned.policy.theta)
    assert loaded.describe() == model.learned.describe()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.json", "policy.safetensors"]


def test_policy_file_is_written_after_every_epoch(tmp_path: Path) -> None:
    found: list[bool] = []

    class Look(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                assert isinstance(pl_module, AugmentedClassifier)
                assert pl_module.learned is not None
                found.append(load_policy(tmp_path / "here" / "policy.json").describe() == pl_module.learned.describe())

    fit(tmp_path, PolicyWriter(str(tmp_path / "here")), Look())
    assert found == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_nothing_is_written_without_a_policy(tmp_path: Path) -> None:
    fit(tmp_path, PolicyWriter(), PolicyPictures(), control="plain")
    assert list(tmp_path.iterdir()) == []


# Pictures


@pytest.mark.slow
def test_pictures_and_history_go_on_in_a_resumed_run(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(dirpath=tmp_path, save_last=True, save_top_k=0)
    first = PolicyPictures()
    model = fit(tmp_path, first, checkpoint)
    for name in ("augmentations.png", "ranges.png"):
        check_picture(tmp_path / name)
    assert list(first.history) == [4, 8]
    assert first.history[8] == shares(model)
    assert first.history[4] != first.history[8]
    assert first.images is not None
    assert first.images.shape == (8, 1, 12, 12)

    assert "PolicyPictures" in torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    second = PolicyPictures()
    trainer = toy_trainer(max_epochs=3, callbacks=[second], default_root_dir=tmp_path)
    trainer.fit(toy_classifier(lr_schedule="constant"), datamodule=ToyData(), ckpt_path=str(tmp_path / "last.ckpt"))
    assert list(second.history) == [4, 8, 12]
    assert second.history[4] == first.history[4]
    assert second.images is not None
    assert torch.equal(second.images, first.images)


def test_period_of_pictures() -> None:
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, found 0"):
        PolicyPictures(every_n_epochs=0)


# Loggers


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four epochs with both loggers, pictures every second one."""
    folder = tmp_path_factory.mktemp("logged")
    loggers = [CSVLogger(folder, name="", version=""), WandbLogger("toy", save_dir=folder, offline=True)]
    trainer = toy_trainer(
        max_epochs=4,
        default_root_dir=folder,
        logger=loggers,
        log_every_n_steps=1,
        callbacks=[PolicyPictures(every_n_epochs=2), PolicyWriter()],
    )
    try:
        trainer.fit(toy_classifier(), datamodule=ToyData())
    finally:
        wandb.finish()
    return folder


def test_csv_has_one_column_for_each_key(logged: Path) -> None:
    with (logged / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if value:
                columns.setdefault(key, []).append(float(value))
    expected = {f"range/{op}" for op in OPS}
    expected |= {"influence/ihvp_residual", "influence/cg_iters", "influence/mean", "influence/loss"}
    expected |= {"policy/pixel_change", "policy/feature_move"}
    expected |= {f"val/acc/{label}" for label in range(CLASSES)}
    expected |= {
        "policy/retention",
        "policy/pixel_change",
        "policy/feature_move",
        "policy/rollbacks",
        "policy/unhealthy",
        "policy/gave_up",
        "val/acc",
        "val/loss",
        "train/acc",
        "train/loss",
        "epoch",
        "step",
    }
    assert set(columns) == expected
    assert len(columns["influence/ihvp_residual"]) == 16  # one an update
    assert max(columns["influence/ihvp_residual"]) <= 1e-2
    assert min(columns["influence/cg_iters"]) >= 1
    assert len(columns["val/acc"]) == 4
    policy = load_policy(logged / "policy.json").describe()
    for op, facts in policy.items():
        assert columns[f"range/{op}"][-1] == pytest.approx(facts["half_width"], rel=1e-4)


def test_wandb_has_pictures_and_histograms(logged: Path) -> None:
    (run,) = (logged / "wandb").glob("offline-run-*")
    media = list((run / "files" / "media" / "images" / "policy").glob("augmentations_*.png"))
    assert len(media) == 2
    for path in media:
        check_picture(path)
    (history,) = run.glob("*.wandb")
    content = history.read_bytes()
    for key in ("influence/histogram", "policy/augmentations", "range/translate_y", "val/acc"):
        assert key.encode() in content, key


def test_watching_leaves_the_training_alone(logged: Path, tmp_path: Path) -> None:
    alone = fit(tmp_path, epochs=4)
    assert alone.learned is not None
    assert torch.equal(load_policy(logged / "policy.json").policy.theta, alone.learned.policy.theta)


def test_files_of_a_run(logged: Path) -> None:
    assert {path.name for path in logged.iterdir()} == {*FILES, "metrics.csv", "hparams.yaml", "wandb"}


def test_pictures_draw_nothing_from_the_training() -> None:
    module = toy_classifier(ops=["crop", "noise", "translate_x"])
    pictures = PolicyPictures()
    pictures.images, pictures.labels = ToyData().training[0][:4], ToyData().training[1][:4]
    state = torch.get_rng_state()
    assert module.learned is not None
    assert torch.equal(pictures._rows(module.learned), pictures._rows(module.learned))
    assert torch.equal(torch.get_rng_state(), state)
