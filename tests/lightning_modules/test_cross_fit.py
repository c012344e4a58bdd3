"""Folds under real trainers: no batch holds an image of the influence set, and resumed runs are exact."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from image_files import hashes, write_image_folder
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor, nn
from toys import toy_trainer

from lightning_modules.data import DigitsDataModule, ImageDataModule, InfluenceDataModule, TrainingBatch

Step = tuple[int, tuple[int, ...], frozenset[bytes]]


class Witness(pl.LightningModule):
    """Rotates the folds as a model should, and writes down each step: epoch, rows, and what the influence set was.

    Args:
        data: The data module.
        schedule: Whether the learning rate asks how long the run is before it starts.
        release: Step behind which no fold is needed any more.
        folder: Where each rank leaves its steps; None for nowhere.
    """

    def __init__(
        self,
        data: InfluenceDataModule,
        schedule: bool = False,
        release: int | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(1, data.num_classes)
        self.data, self.schedule, self.release, self.folder = data, schedule, release, folder
        self.steps: list[Step] = []
        self.influence = frozenset(hashes(data.influence_set()[0]))

    def _rotate(self) -> None:
        if self.data.rotate(self.current_epoch):
            self.influence = frozenset(hashes(self.data.influence_set()[0]))

    def on_fit_start(self) -> None:
        self.influence = frozenset(hashes(self.data.influence_set()[0]))

    def on_train_start(self) -> None:
        self._rotate()

    def on_train_epoch_start(self) -> None:
        self._rotate()

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        images, labels, rows = batch
        assert rows.dtype == torch.int64
        own, classes = self.data.training_images.__getitems__(rows.tolist())
        assert torch.equal(images, own)
        assert torch.equal(labels, classes)
        assert self.influence.isdisjoint(hashes(images))
        self.steps.append((self.current_epoch, tuple(rows.tolist()), self.influence))
        if self.global_step == self.release:
            self.data.release()
        return nn.functional.cross_entropy(self.head(images.mean(dim=(1, 2, 3))[:, None]), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        assert len(batch) == 2

    def on_train_end(self) -> None:
        if self.folder is not None:
            self.folder.mkdir(exist_ok=True)
            torch.save([(epoch, rows) for epoch, rows, _ in self.steps], self.folder / f"{self.global_rank}.pt")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        if not self.schedule:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)  # raises when it is stepped more often than that
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def digits(**arguments: Any) -> DigitsDataModule:
    """1,000 upright digits that always train, 200 turned ones in folds."""
    settings: dict[str, Any] = {"image_size": 8, "influence_source": "cross_fit", "folds": 4, "batch_size": 230}
    return DigitsDataModule(**settings | arguments)


def held_rows(data: InfluenceDataModule) -> set[int]:
    """Row numbers of the influence set, found by its pixels."""
    influence = set(hashes(data.influence_set()[0]))
    return {row for row, value in enumerate(hashes(data.training_images)) if value in influence}


def witness(data: InfluenceDataModule, epochs: int, **arguments: Any) -> Witness:
    seen = Witness(data, schedule=True, **arguments)
    toy_trainer(max_epochs=epochs).fit(seen, datamodule=data)
    return seen


class SaveEverywhere(Checkpoint):
    """A checkpoint behind every step, every validation and every epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"step-{trainer.global_step}.ckpt")

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"validation-{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"epoch-{trainer.global_step}.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize(("deployed", "workers"), [(False, 0), (True, 0), (True, 2)])
def test_no_batch_holds_an_image_of_the_fold_and_every_image_trains(
    deployed: bool, workers: int, tmp_path: Path
) -> None:
    """`Witness` compares the pixels of each batch with those of the influence set."""
    write_image_folder(tmp_path / "data", {"cat": 30, "dog": 32}, seed=0)
    write_image_folder(tmp_path / "deployed", {"cat": 11, "dog": 10}, seed=1)
    options: dict[str, Any] = {"memory_limit": 0, "num_workers": workers} if workers else {}
    own: dict[str, Any] = {"influence_path": str(tmp_path / "deployed")} if deployed else {"influence_size": 12}
    data = ImageDataModule(
        str(tmp_path / "data"),
        val_size=6,
        test_size=6,
        influence_source="cross_fit",
        folds=3,
        batch_size=1,
        **own,
        **options,
    )
    seen = witness(data, 7)
    pool = 21 if deployed else 50
    epoch = data.num_train_rows - pool // 3
    assert len(seen.steps) == 7 * epoch
    for start in range(0, 7 * epoch, epoch):
        of_epoch = seen.steps[start : start + epoch]
        rows = {row for _, rows, _ in of_epoch for row in rows}
        assert len(rows) == epoch
        assert len({influence for *_, influence in of_epoch}) == 1
        assert seen.steps[start - 1][2] != of_epoch[0][2] or start == 0
    rotation = {row for _, rows, _ in seen.steps[: 3 * epoch] for row in rows}
    assert rotation == set(range(data.num_train_rows))


def test_a_released_run_never_oversteps_its_schedule() -> None:
    data = digits(folds=3, batch_size=162)  # 7 batches an epoch; all 1,200 images would be more
    seen = witness(data, 5, release=9)
    assert len(seen.steps) == 5 * 7
    assert {row for _, rows, _ in seen.steps[14:] for row in rows} == set(range(1200))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "limit"), [(True, {"max_epochs": 4}), (False, {"max_steps": 16, "max_epochs": -1})]
)
def test_a_run_resumed_anywhere_sees_the_batches_and_folds_it_would_have_seen(
    schedule: bool, limit: dict[str, int], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"folds": 3, "fold_epochs": 2, "batch_size": 270}
    options: dict[str, Any] = {"limit_val_batches": 1, **limit}
    data = digits(**settings)
    whole = Witness(data, schedule, release=9)  # in the middle of an epoch
    toy_trainer(callbacks=[SaveEverywhere(tmp_path)], enable_checkpointing=True, **options).fit(whole, datamodule=data)
    assert len(whole.steps) == 16
    assert len({influence for *_, influence in whole.steps}) > 1
    checkpoints = sorted(tmp_path.rglob("*.ckpt"))
    assert len(checkpoints) == 16 + 4 + 4
    for checkpoint in checkpoints:
        data = digits(**settings)
        resumed = Witness(data, schedule, release=9)
        toy_trainer(**options).fit(resumed, datamodule=data, ckpt_path=str(checkpoint))
        done = torch.load(checkpoint, weights_only=True)["global_step"]
        assert resumed.steps == whole.steps[done:], checkpoint


def on_two_ranks(
    folder: Path, schedule: bool, checkpoint: Path | None = None, **options: Any
) -> list[list[tuple[int, tuple[int, ...]]]]:
    """Steps of each of two ranks."""
    data = digits(batch_size=115)
    module = Witness(data, schedule, folder=folder)
    trainer = toy_trainer(max_epochs=5, devices=2, strategy="ddp_fork", **options)
    trainer.fit(module, datamodule=data, ckpt_path=None if checkpoint is None else str(checkpoint))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [False, True])
def test_ranks(schedule: bool, tmp_path: Path) -> None:
    """Each rank checks for itself that its batches hold nothing of the fold; here it is what they saw together."""
    callbacks: Any = [SaveEverywhere(tmp_path / "kept")]
    whole = on_two_ranks(tmp_path / "whole", schedule, callbacks=callbacks, enable_checkpointing=True)
    steps = 5
    assert [len(part) for part in whole] == [5 * steps] * 2
    data = digits()
    for epoch in range(5):
        data.rotate(epoch)
        seen = [row for part in whole for _, rows in part[epoch * steps : (epoch + 1) * steps] for row in rows]
        assert len(seen) == len(set(seen)) == 2 * 115 * steps
        assert set(seen).isdisjoint(held_rows(data))
    assert {row for part in whole for _, rows in part for row in rows} == set(range(1200))
    for number in (7, 10):  # in the middle and at the end of an epoch
        at = tmp_path / "kept" / f"step-{number}.ckpt"
        assert on_two_ranks(tmp_path / f"resumed-{number}", schedule, at) == [part[number:] for part in whole]
