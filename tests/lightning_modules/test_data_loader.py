import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from image_files import disjoint, hashes
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from lightning_modules.classifier.models import SmallConvNet
from lightning_modules.data import DigitsDataModule, LabelledImages, MemoryStore, TrainingBatch


class CountingStore(MemoryStore):
    """Counts the indexing operations."""

    fetches = 0

    def fetch(self, indices: Sequence[int]) -> Tensor:
        self.fetches += 1
        return super().fetch(indices)


class Recorder(pl.LightningModule):
    """Trains the small network and keeps the images it saw."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self.network = SmallConvNet(10, width=4)
        self.folder = folder
        self.seen: list[bytes] = []

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        self.seen += hashes(batch[0])
        return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Lightning warns of validation images without it."""

    def on_train_end(self) -> None:
        if self.folder is not None:
            torch.save(self.seen, self.folder / f"{self.global_rank}.pt")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        log_every_n_steps=1,
        **arguments,
    )


def test_an_epoch_takes_one_indexing_operation_per_batch() -> None:
    module = DigitsDataModule(batch_size=100)
    train = module.splits.train
    assert isinstance(train.store, MemoryStore)
    train.store = store = CountingStore(train.store.images)
    seen = [images for images, _, _ in module.train_dataloader()]
    assert store.fetches == len(seen) == 10
    assert set(hashes(torch.cat(seen))) == set(hashes(store.fetch(range(1000))))


def test_single_items_and_batches_agree() -> None:
    images = torch.randint(0, 256, (7, 3, 4, 4), dtype=torch.uint8)
    dataset = LabelledImages(MemoryStore(images), torch.arange(7))
    batch, labels = dataset.__getitems__([5, 2])
    assert torch.equal(batch[1], dataset[2][0])
    assert torch.equal(batch, images[[5, 2]] / 255)
    assert labels.tolist() == [5, 2]
    assert batch.max() <= 1


def test_epochs_are_shuffled_differently_and_by_seed() -> None:
    first, second = DigitsDataModule().train_dataloader(), DigitsDataModule().train_dataloader()
    orders = [[labels.tolist() for _, labels, _ in loader] for loader in (first, first, second)]
    assert orders[0] == orders[2] != orders[1]
    module = DigitsDataModule()
    assert [labels.tolist() for _, labels in module.val_dataloader()] == [
        labels.tolist() for _, labels in module.val_dataloader()
    ]


def test_last_small_batch_is_left_out_only_in_training() -> None:
    module = DigitsDataModule(batch_size=300)
    assert [len(labels) for _, labels, _ in module.train_dataloader()] == [300, 300, 300]
    assert [len(labels) for _, labels in module.test_dataloader()] == [300, 97]
    assert [len(labels) for _, labels, _ in DigitsDataModule(batch_size=2000).train_dataloader()] == [1000]


def test_a_distributed_sampler_shards_the_batches() -> None:
    module = DigitsDataModule()
    train, collate = module.splits.train, module.train_dataloader().collate_fn
    parts = []
    for rank in (0, 1):
        sampler: DistributedSampler = DistributedSampler(train, num_replicas=2, rank=rank)
        parts.append(torch.cat([images for images, _ in DataLoader(train, 64, sampler=sampler, collate_fn=collate)]))
    assert [len(part) for part in parts] == [500, 500]
    assert disjoint(*parts)


def test_a_loaded_module_can_be_sent_to_another_process() -> None:
    module = DigitsDataModule()
    module.setup("fit")
    module.train_dataloader()
    copy = pickle.loads(pickle.dumps(module))
    assert hashes(copy.splits.load_test()) == hashes(module.splits.load_test())


def test_resumed_run_sees_the_images_in_the_order_it_would_have(tmp_path: Path) -> None:
    straight, halted, resumed = Recorder(), Recorder(), Recorder()
    trainer(max_epochs=2).fit(straight, datamodule=DigitsDataModule())
    halt = trainer(max_epochs=1)
    halt.fit(halted, datamodule=DigitsDataModule())
    halt.save_checkpoint(tmp_path / "halted.ckpt")
    trainer(max_epochs=2).fit(resumed, datamodule=DigitsDataModule(), ckpt_path=tmp_path / "halted.ckpt")
    assert halted.seen + resumed.seen == straight.seen


def test_lightning_shards_the_training_images_over_processes(tmp_path: Path) -> None:
    parallel = trainer(max_epochs=1, devices=2, strategy="ddp_fork")
    parallel.fit(Recorder(tmp_path), datamodule=DigitsDataModule())
    seen = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert [len(images) for images in seen] == [448, 448]
    assert set(seen[0]).isdisjoint(seen[1])
