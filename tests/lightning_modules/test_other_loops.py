"""The augmenter in the checkpoints and wrappers of other training libraries."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from toys import OPS, ToyData, ToyNet, blobs

from lightning_modules.learner.augmenter import Augmenter
from lightning_modules.learner.settings import LearnerSettings

IMAGES, LABELS = blobs(96, 0, 0)
INFLUENCE = ToyData().influence


def augmenter(model: torch.nn.Module) -> Augmenter:
    return Augmenter(model, INFLUENCE, OPS, learner=LearnerSettings(interval=1, warmup=0))


def learned_by_fabric(folder: Path) -> tuple[Augmenter, Augmenter]:
    """An augmenter, and another that has read its checkpoint of Fabric."""
    fabric, pair = Fabric(accelerator="cpu", devices=1), []
    for _ in range(2):
        network = ToyNet()
        model, _ = fabric.setup(network, torch.optim.SGD(network.parameters(), lr=0.05))
        pair.append(augmenter(model))
    pair[0].step(IMAGES, LABELS)
    fabric.save(folder / "all.ckpt", {"augmenter": pair[0]})
    fabric.load(folder / "all.ckpt", {"augmenter": pair[1]})
    return pair[0], pair[1]


def learned_by_accelerate(folder: Path) -> tuple[Augmenter, Augmenter]:
    """An augmenter, and the same after another update and the reading of its checkpoint of Accelerate."""
    accelerator = Accelerator(cpu=True)
    learned = augmenter(accelerator.prepare(ToyNet()))
    accelerator.register_for_checkpointing(learned)
    learned.step(IMAGES, LABELS)
    before = copy.deepcopy(learned)
    accelerator.save_state(str(folder))
    learned.step(IMAGES, LABELS)
    assert learned.steps == 2
    accelerator.load_state(str(folder))
    return before, learned


@pytest.mark.parametrize("training", [learned_by_fabric, learned_by_accelerate])
def test_checkpoints_of_other_libraries_hold_what_was_learned(training: Any, tmp_path: Path) -> None:
    saved, loaded = training(tmp_path)
    assert loaded.steps == saved.steps == 1
    assert loaded.policy.describe() == saved.policy.describe()
    assert loaded.policy.describe() != augmenter(ToyNet()).policy.describe()  # type: ignore[union-attr]


def rank(index: int, folder: str) -> None:
    """Train on this rank's half of each batch."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=index, world_size=2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DistributedDataParallel(ToyNet())
    learned = augmenter(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for images, labels in zip(IMAGES.split(24), LABELS.split(24), strict=True):
        images, labels = images.chunk(2)[index], labels.chunk(2)[index]
        loss = torch.nn.functional.cross_entropy(model(learned(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert learned.step(images, labels) is not None
    torch.save(learned.state_dict()["policy"], f"{folder}/{index}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_that_share_batches_share_the_policy(tmp_path: Path) -> None:
    spawn(rank, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{index}.pt", weights_only=True) for index in range(2))
    assert all(torch.equal(second[name], value) for name, value in first.items())
    assert not torch.equal(first["policy.theta"], augmenter(ToyNet()).state_dict()["policy"]["policy.theta"])
