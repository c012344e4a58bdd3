"""What people switch on in Lightning goes together with a policy that is learned, in both ways to learn one."""

import csv
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from two_ways import WAYS, Way, own

from augnet import load_policy
from lightning_modules.callbacks import ExactResume, PolicyWriter

pytestmark = pytest.mark.parametrize("name", WAYS)


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters, copies."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def check_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


# Precision and accumulation


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])  # on CPUs Lightning takes bfloat16 for float16
def test_mixed_precision(name: str, precision: Any, tmp_path: Path) -> None:
    way = WAYS[name]()
    start = way.theta
    way.fit(tmp_path, precision=precision)
    way.check_learned(start)
    assert way.learner.updates == 16
    with way.learner.influence.forward_context():
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert torch.is_autocast_enabled("cpu")


class Steps(pl.Callback):
    """Where the classifier stepped, and how many updates there were after each batch."""

    def __init__(self, way: Way) -> None:
        self.way, self.seen = way, list[tuple[int, int]]()
        self.optimizer_steps = 0

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self.optimizer_steps += 1

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.seen.append((self.optimizer_steps, self.way.learner.updates))


def test_updates_follow_real_steps_when_gradients_are_accumulated(name: str, tmp_path: Path) -> None:
    """Three batches of four are accumulated, and Lightning steps on the last of an epoch too."""
    way = WAYS[name]()
    steps, start = Steps(way), way.theta
    way.fit(tmp_path, steps, accumulate_grad_batches=3)
    assert [optimizer for optimizer, _ in steps.seen[:6]] == [0, 0, 0, 1, 2, 2]
    assert all(optimizer == updates for optimizer, updates in steps.seen)
    assert (steps.optimizer_steps, way.learner.updates) == (8, 8)
    way.check_learned(start)


# Averaged weights


class Snapshots(pl.Callback):
    """Copies of the weights, at the start of each epoch and after each batch."""

    def __init__(self) -> None:
        self.of_epochs: list[dict[str, Tensor]] = []
        self.of_batches: list[dict[str, Tensor]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.of_epochs.append(weights(pl_module))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.of_batches.append(weights(pl_module))


def mean(snapshots: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([one[name] for one in snapshots]).mean(dim=0) for name in snapshots[0]}


def test_stochastic_weight_averaging(name: str, tmp_path: Path) -> None:
    """The last epoch only measures batch statistics: neither the weights nor the policy learn in it."""
    way, snapshots = WAYS[name](), Snapshots()
    start = way.theta
    way.fit(
        tmp_path, snapshots, StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=2), PolicyWriter(str(tmp_path))
    )
    way.check_learned(start)
    assert len(snapshots.of_epochs) == 5
    check_close(weights(way.module), mean(snapshots.of_epochs[1:4]))
    assert way.learner.updates == 16
    assert torch.equal(load_policy(tmp_path / "policy.json").policy.theta, way.learner.result.policy.theta)


def test_weight_averaging(name: str, tmp_path: Path) -> None:
    way, snapshots = WAYS[name](), Snapshots()
    start = way.theta
    way.fit(tmp_path, snapshots, WeightAveraging(), PolicyWriter(str(tmp_path)))
    way.check_learned(start)
    check_close(weights(way.module), mean(snapshots.of_batches))
    # the policy has an average of its own
    assert torch.equal(load_policy(tmp_path / "policy.json").policy.theta, way.learner.result.policy.theta)


def test_moving_average_goes_on_in_a_resumed_run(name: str, tmp_path: Path) -> None:
    def fit(ckpt_path: Path | None) -> tuple[Way, Snapshots]:
        way, snapshots = WAYS[name](), Snapshots()
        every = ModelCheckpoint(dirpath=tmp_path / "all", filename="{epoch}", save_top_k=-1, every_n_epochs=1)
        callbacks = [snapshots, EMAWeightAveraging(decay=0.8), ExactResume(), every]
        way.fit(tmp_path, *callbacks, enable_checkpointing=True, ckpt_path=ckpt_path)
        return way, snapshots

    whole, snapshots = fit(None)
    average = snapshots.of_batches[0]
    for later in snapshots.of_batches[1:]:
        average = {key: 0.8 * value + 0.2 * later[key] for key, value in average.items()}
    check_close(weights(whole.module), average)
    resumed, _ = fit(tmp_path / "all" / "epoch=1.ckpt")
    assert len(whole.state()) > 8
    for key, value in whole.state().items():
        assert torch.equal(resumed.state()[key], value), key


@pytest.mark.parametrize("averaging", [WeightAveraging, lambda: StochasticWeightAveraging(0.05, 2)])
def test_ranges_at_their_bounds_can_be_averaged(name: str, averaging: Any, tmp_path: Path) -> None:
    way = own(control="uniform") if name == "own" else WAYS[name](initial_range=1.0)
    way.fit(tmp_path, averaging())
    for facts in way.augnet.describe().values():
        assert facts["half_width"] == facts["bound"]
    assert all(bool(value.isfinite().all()) for value in way.state().values())


@pytest.mark.slow
def test_averaging_twice_with_the_same_module(name: str, tmp_path: Path) -> None:
    """The second time, the module that is copied has a learner."""
    way = WAYS[name]()
    for averaging in (WeightAveraging(), StochasticWeightAveraging(0.05, 2)):
        start = way.theta
        way.fit(tmp_path, averaging)
        way.check_learned(start)


# Checkpoints, early stopping, loggers


@pytest.mark.slow
def test_resuming_from_the_best_checkpoint(name: str, tmp_path: Path) -> None:
    """Whichever epoch was the best, from its file on the run is the same bit for bit."""

    def fit(folder: Path, ckpt_path: Path | None = None) -> tuple[Way, ModelCheckpoint]:
        way = WAYS[name]()
        best = ModelCheckpoint(dirpath=folder, monitor="val/acc", mode="max", filename="best")
        way.fit(tmp_path, best, ExactResume(), enable_checkpointing=True, ckpt_path=ckpt_path, max_epochs=6)
        return way, best

    whole, best = fit(tmp_path / "whole")
    saved = torch.load(best.best_model_path, weights_only=True)
    assert 0 < saved["global_step"] < 24  # the toy data are noisy enough that the last epoch is not the best
    assert best.best_model_score == max(best.best_k_models.values())
    resumed, _ = fit(tmp_path / "resumed", Path(best.best_model_path))
    for key, value in whole.state().items():
        assert torch.equal(resumed.state()[key], value), key
    assert resumed.learner.updates == whole.learner.updates == 24


def test_early_stopping(name: str, tmp_path: Path) -> None:
    way = WAYS[name]()
    start = way.theta
    trainer = way.fit(tmp_path, EarlyStopping("val/loss", patience=2, min_delta=10.0), max_epochs=50)
    assert trainer.current_epoch == 3
    assert trainer.global_step == way.learner.updates == 12
    way.check_learned(start)


@pytest.mark.slow
def test_three_loggers_at_once(name: str, tmp_path: Path) -> None:
    way = WAYS[name]()
    start = way.theta
    loggers = [
        CSVLogger(tmp_path, name="csv", version=""),
        TensorBoardLogger(tmp_path, name="tensorboard", version=""),
        WandbLogger("toy", save_dir=tmp_path, offline=True),
    ]
    try:
        way.fit(tmp_path, logger=loggers, log_every_n_steps=1)
    finally:
        wandb.finish()
    way.check_learned(start)
    width = float(way.learner.result.describe()["translate_y"]["half_width"])
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        in_csv = [float(row["range/translate_y"]) for row in csv.DictReader(file) if row["range/translate_y"]]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    in_tensorboard = [event.value for event in events.Scalars("range/translate_y")]
    assert len(in_csv) == len(in_tensorboard) == 16
    assert in_csv == pytest.approx(in_tensorboard, rel=1e-5)
    assert in_csv[-1] == pytest.approx(width, rel=1e-4)
    (run,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    for _ in range(100):  # W&B's own process writes it
        if b"range/translate_y" in run.read_bytes():
            return
        time.sleep(0.1)
    pytest.fail("the file of the W&B run has no ranges")
