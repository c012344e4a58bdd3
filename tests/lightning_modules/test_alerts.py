"""Alerts: with a fake run, and in a real offline one."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import wandb
from offline_runs import logged_keys, records_of
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from toys import ToyData, toy_classifier, toy_trainer

from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.staged import StagedSettings
from lightning_modules.monitoring.alerts import announce

EVENT = "The policy was rolled back to its last healthy state (retention is 0.10, below 0.5)."


class FakeRun:
    """Keeps the alerts that a run would send, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.sent = error, list[dict[str, Any]]()

    def alert(self, **alert: Any) -> None:
        self.sent.append(alert)
        if self.error is not None:
            raise self.error


def logger_of(run: FakeRun) -> WandbLogger:
    logger = WandbLogger(offline=True)
    logger._experiment = run
    return logger


def test_an_alert_says_what_the_warning_says() -> None:
    run = FakeRun()
    with pytest.warns(UserWarning, match="rolled back to its last healthy state"):
        announce(EVENT, False, [CSVLogger("unused"), logger_of(run)])
    assert run.sent == [{"title": "Policy rolled back", "text": EVENT, "level": "WARN", "wait_duration": 0}]


def test_giving_up_is_an_error() -> None:
    run = FakeRun()
    with pytest.warns(UserWarning, match="rolled back"):
        announce(EVENT, True, [logger_of(run)])
    assert (run.sent[0]["title"], run.sent[0]["level"]) == ("Policy learning has ended", "ERROR")


def test_an_alert_that_cannot_be_sent_is_said_and_the_next_logger_gets_its_own() -> None:
    broken, whole = FakeRun(ConnectionError("no route to host")), FakeRun()
    with pytest.warns(UserWarning, match="rolled back|could not be sent") as warned:
        announce(EVENT, False, [logger_of(broken), logger_of(whole)])
    assert [str(one.message) for one in warned] == [
        EVENT,
        "The alert could not be sent to W&B (ConnectionError: no route to host).",
    ]
    assert len(whole.sent) == 1


# In a run


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[WandbLogger]:
    yield WandbLogger("toy", save_dir=tmp_path, offline=True)
    wandb.finish()


def sick(rollbacks: int, **arguments: Any) -> AugmentedClassifier:
    """A classifier with a guard that no policy satisfies."""
    guard = GuardSettings(max_residual=1e-12, patience=2, max_rollbacks=rollbacks)
    learner = LearnerSettings(interval=1, warmup=0, refresh=1)
    return toy_classifier(**{"guard": guard, "learner": learner, **arguments})


def fit(model: AugmentedClassifier, logger: WandbLogger, epochs: int = 2) -> list[str]:
    """Train; the warnings about the policy."""
    trainer = toy_trainer(max_epochs=epochs, logger=logger, log_every_n_steps=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, datamodule=ToyData())
    return [str(one.message) for one in caught if "rolled back" in str(one.message)]


@pytest.mark.slow
def test_each_event_of_an_offline_run_is_one_alert(tmp_path: Path, offline: WandbLogger) -> None:
    warned = fit(sick(rollbacks=2), offline)
    wandb.finish()
    assert len(warned) == 2
    assert warned[0].startswith("The policy was rolled back to its last healthy state (the solve left a residual")
    assert warned[1].endswith("It stays there for the rest of the run.")
    alerts = records_of(tmp_path, "alert")
    assert [(one["title"], one["level"], one["text"]) for one in alerts] == [
        ("Policy rolled back", "WARN", warned[0]),
        ("Policy learning has ended", "ERROR", warned[1]),
    ]
    history = [record["item"] for record in records_of(tmp_path, "history")]
    seen = [
        tuple(item[f"policy/{name}"] for name in ("unhealthy", "rollbacks", "gave_up"))
        for item in history
        if "policy/gave_up" in item
    ]
    assert seen == [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 2, 1)]  # and no further update
    assert "policy/gave_up" in logged_keys(tmp_path)


def test_a_policy_stage_announces_its_events_too() -> None:
    run = FakeRun()
    model = sick(rollbacks=1, schedule="staged", staged=StagedSettings(steps=40))
    warned = fit(model, logger_of_fit(run), epochs=1)
    assert [one["text"] for one in run.sent] == warned
    assert len(warned) == 1


def test_values_that_are_not_finite_are_an_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeRun()
    model = toy_classifier()

    class Diverge(pl.Callback):
        @torch.no_grad()
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            next(model.network.parameters()).fill_(float("nan"))

    trainer = toy_trainer(logger=logger_of_fit(run), callbacks=[Diverge()], log_every_n_steps=1)
    monkeypatch.setattr("lightning_modules.classifier.classifier.is_finite", lambda loss, network: True)
    with pytest.warns(UserWarning, match="not finite"):
        trainer.fit(model, datamodule=ToyData())
    assert "not finite" in run.sent[0]["text"]
    assert [one["level"] for one in run.sent] == ["WARN", "WARN", "ERROR"]


def test_a_classifier_that_diverges_stops_the_run() -> None:
    class Diverge(pl.Callback):
        @torch.no_grad()
        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            next(model.network.parameters()).fill_(float("inf"))

    model = toy_classifier(control="plain")
    trainer = toy_trainer(callbacks=[Diverge()], max_epochs=3)
    with pytest.raises(ValueError, match=r"diverged: after step \d+ .*Lower the lr of model.optimizer"):
        trainer.fit(model, datamodule=ToyData())
    assert trainer.current_epoch == 0


def test_a_healthy_run_sends_none() -> None:
    run = FakeRun()
    assert fit(toy_classifier(), logger_of_fit(run)) == []
    assert run.sent == []


def test_no_run_fails_for_its_alerts() -> None:
    run = FakeRun(RuntimeError("quota"))
    model = sick(rollbacks=2)
    assert len(fit(model, logger_of_fit(run))) == 2
    assert len(run.sent) == 2
    assert model.trainer.global_step == 8


def logger_of_fit(run: FakeRun) -> WandbLogger:
    """A logger of a fake run that logs nothing else."""
    logger = logger_of(run)
    for name in ("log_metrics", "log_hyperparams", "log_graph", "finalize", "save"):
        setattr(logger, name, lambda *args, **kwargs: None)
    return logger
