"""Images per second, with a clock that the test sets."""

from typing import Any

import pytest
import pytorch_lightning as pl
from toys import ToyData, toy_classifier, toy_trainer

from lightning_modules.callbacks import Throughput, throughput


class Clock(pl.Callback):
    """A second for each training batch, a hundred for each validation batch."""

    def __init__(self) -> None:
        self.now = 5.0

    def perf_counter(self) -> float:
        return self.now

    def on_train_batch_start(self, *_: Any) -> None:
        self.now += 1.0

    def on_validation_batch_start(self, *_: Any) -> None:
        self.now += 100.0


def test_images_are_counted_and_validation_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    trainer = toy_trainer(max_epochs=2, callbacks=[clock, Throughput()], val_check_interval=0.5)
    trainer.fit(toy_classifier(), datamodule=ToyData())
    assert clock.now > 1000  # validated twice an epoch, and before
    assert float(trainer.callback_metrics["train/images_per_second"]) == 24.0  # 96 images in 4 batches of a second


def test_a_short_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    trainer = toy_trainer(callbacks=[clock, Throughput()], limit_train_batches=1, limit_val_batches=0)
    trainer.fit(toy_classifier(control="plain"), datamodule=ToyData())
    assert float(trainer.callback_metrics["train/images_per_second"]) == 24.0
