"""Two gloo processes that share a batch learn the policy that one process learns from all of it."""

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from learner_cases import BATCH, make
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from toys import CLASSES, ToyData, blobs, toy_classifier, toy_trainer

from augnet.baselines import FlipCrop, Mixup
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.training_augmentation import TrainingAugmentation

STEPS = 9
CASES: dict[str, dict[str, Any]] = {
    "ranges": {},
    "ranges behind flips and shifts": {"base": FlipCrop()},
    "noise of its own": {"ops": {"crop": 0.5, "noise": 0.2, "horizontal_flip": 1.0}},
    "mixture": {"policy": "mixture"},
    "conditional": {"policy": "conditional"},
    "class_conditional": {"policy": "class_conditional"},
    "intervals": {"policy": "intervals"},
    "flipped": {"control": "flipped"},
    "shuffled": {"control": "shuffled"},
    "sparse": {"sparsity": 0.5},
    "probed": {"probe": 0.5},
    "mixing in front": {"base": Mixup(before=FlipCrop())},
}


def learned(case: dict[str, Any], ranks: Ranks) -> dict[str, Tensor]:
    """The policy after some updates with this rank's part of the batch, and what was measured on the way."""
    learner = make(ranks=ranks, interval=1, warmup=0, **case)
    images, labels = (ranks.own(part) for part in BATCH)
    updates = [learner.update(images, labels) for _ in range(STEPS)]
    seen = torch.tensor([[update.retention, update.influence_loss] for update in updates])
    return {**learner.augnet.policy.state_dict(), "seen": seen, "bank": learner.influence.bank.rows().features}


def solved(ranks: Ranks, change: float) -> dict[str, Tensor]:
    """What the ranks solve for if their classifiers differ, as batch statistics do: by a change of the first weight."""
    learner = make(ranks=ranks, interval=1, warmup=0)
    with torch.no_grad():
        next(learner.capture.model.parameters()).add_(change * ranks.index)
    images, labels = (ranks.own(part) for part in BATCH)
    update = learner.update(images, labels)
    theta = learner.augnet.policy.state_dict()["theta"]
    return {"solution": update.solution.value, "loss": torch.tensor(update.influence_loss), "theta": theta}


def trained_on(ranks: Ranks) -> dict[str, Tensor]:
    """One image after the base policy, a random number drawn afterwards, and the images that pass the policy."""
    torch.manual_seed(0)
    images, labels = BATCH[0][:1].expand(6, -1, -1, -1), BATCH[1][:1].expand(6)
    behind_base, _ = TrainingAugmentation(FlipCrop(), None, ranks=ranks)(images, labels)
    after = torch.rand(())
    some = TrainingAugmentation(None, make().augnet.train(), probability=0.5, ranks=ranks)(images, labels)[0]
    return {"base": behind_base, "after": after, "some": (some != images).flatten(1).any(dim=1)}


def worker(index: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=index, world_size=2)
    torch.set_num_threads(1)
    ranks = Ranks(dist.group.WORLD)
    found = {name: learned(case, ranks) for name, case in CASES.items()}
    found |= {"apart": solved(ranks, 0.1), "diverged": solved(ranks, math.nan)}
    found |= {"training": trained_on(ranks)}
    with pytest.raises(ValueError, match=r"batches of one size on all ranks, found \[2, 3\]"):
        ranks.gather(torch.zeros(2 + index, 4))
    torch.save(found, f"{folder}/{index}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_learns(tmp_path: Path) -> None:
    spawn(worker, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{index}.pt", weights_only=True) for index in range(2))
    for name, case in CASES.items():
        alone = learned(case, Ranks())
        start = make(**case).augnet.policy.state_dict()
        assert any(not torch.equal(alone[key], value) for key, value in start.items())
        for key, value in alone.items():
            error = (first[name][key] - value).abs().max()
            assert error <= 1e-4 * value.abs().max().clamp(min=1), (name, key, error)
            assert torch.equal(first[name][key], second[name][key]), name
    assert not torch.equal(first["training"]["base"], second["training"]["base"])
    assert torch.equal(first["training"]["after"], second["training"]["after"])
    assert not torch.equal(first["training"]["some"], second["training"]["some"])
    apart = solved(Ranks(), 0.1)
    for key, value in first["apart"].items():
        assert torch.equal(value, second["apart"][key]), key
        assert not torch.equal(value, apart[key]), key
    for found in (first["diverged"], second["diverged"]):
        assert found["loss"].isnan()
        assert found["solution"].numel() == 0
        assert torch.equal(found["theta"], make().augnet.policy.state_dict()["theta"])


class Linear(nn.Module):
    """No batch statistics and no dropout: two ranks compute what one process does."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(144 * in_channels, 16), nn.Tanh())
        self.head = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


class Divided(ToyData):
    """The toy data in an order in which the parts of two ranks, one after the other, are one batch of one process."""

    def __init__(self, ranks: int) -> None:
        super().__init__()
        images, labels = blobs(96, 0, 0)
        if ranks == 1:
            order = torch.arange(96).view(-1, 12, 2).transpose(1, 2).flatten()
            images, labels = images[order], labels[order]
        self.data, self.ranks = TensorDataset(images, labels), ranks

    def train_dataloader(self) -> DataLoader:
        sampler: Any = DistributedSampler(self.data, shuffle=False) if self.ranks == 2 else None
        return DataLoader(self.data, batch_size=24 // self.ranks, sampler=sampler)


def fit(ranks: int, folder: Path) -> dict[str, Tensor]:
    module = toy_classifier(model="test_ranks.Linear", num_classes=CLASSES)
    several = {"devices": 2, "strategy": "ddp_spawn"} if ranks == 2 else {}
    trainer = toy_trainer(max_epochs=13, default_root_dir=folder, callbacks=[Keep(folder)], **several)
    trainer.fit(module, Divided(ranks))
    kept: dict[str, Tensor] = torch.load(folder / "kept.pt", weights_only=True)
    return kept


class Keep(pl.Callback):
    """Starts with the same random state in all processes, and keeps the weights that one of them has learned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.manual_seed(0)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.folder.mkdir(exist_ok=True)
            torch.save(pl_module.state_dict(), self.folder / "kept.pt")


@pytest.mark.slow
def test_the_trainer_on_two_ranks_equals_one_process(tmp_path: Path) -> None:
    alone, divided = fit(1, tmp_path / "1"), fit(2, tmp_path / "2")
    assert "augnet.policy.theta" in alone
    for name, value in alone.items():
        error = (divided[name] - value).abs().max()
        assert error <= 1e-4 * value.abs().max().clamp(min=1), (name, error)
    start = toy_classifier(model="test_ranks.Linear", num_classes=CLASSES).state_dict()
    assert (alone["augnet.policy.theta"] - start["augnet.policy.theta"]).abs().max() > 0.1
