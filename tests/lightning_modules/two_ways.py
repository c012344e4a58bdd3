"""The two ways to train with a learned policy: the project's own module, and the callback on somebody else's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from toys import OPS, ToyData, ToyNet, toy_classifier, toy_trainer

from augnet import AugNet
from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.data import InfluenceDataModule
from lightning_modules.data.labelled_images import LabelledImages, Splits
from lightning_modules.data.store import MemoryStore
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.settings import LearnerSettings

Stored = tuple[Tensor, Tensor]


class ToySplits(InfluenceDataModule):
    """The toy data in a module that keeps the place in them in checkpoints; four steps an epoch.

    Args:
        batch_size: Images a batch.
        train: Makes other training images and labels of them.
        influence: Makes another influence set of it.
        **arguments: See `InfluenceDataModule`.
    """

    def __init__(self, batch_size: int = 24, train: Any = None, influence: Any = None, **arguments: Any) -> None:
        super().__init__(batch_size, **arguments)
        self.changes = {"training": train, "influence": influence}

    def load_splits(self) -> Splits:
        train, influence, validation = (self._part(name) for name in ("training", "influence", "validation"))
        return Splits(train, influence, validation, lambda: validation, ("left", "middle", "right"))

    def _part(self, name: str) -> LabelledImages:
        part: Stored = getattr(ToyData(), name)
        change = self.changes.get(name)
        images, labels = part if change is None else change(*part)
        return LabelledImages(MemoryStore(images.mul(255).round().to(torch.uint8)), labels)


class Theirs(pl.LightningModule):
    """What somebody else wrote, with validation and a schedule."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ToyNet()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self(batch[0])
        self.log("val/loss", nn.functional.cross_entropy(logits, batch[1]))
        self.log("val/acc", (logits.argmax(dim=1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


@dataclass
class Way:
    """A module with what learns its policy."""

    module: pl.LightningModule
    callback: LearnedAugmentation | None

    @property
    def augnet(self) -> AugNet[Any, Any]:
        owner: Any = self.callback or self.module
        assert owner.augnet is not None
        augnet: AugNet[Any, Any] = owner.augnet
        return augnet

    @property
    def learner(self) -> PolicyLearner:
        owner: Any = self.callback or self.module
        learner: PolicyLearner | None = owner.learner
        assert learner is not None
        return learner

    @property
    def theta(self) -> Tensor:
        """The policy's parameters, a copy."""
        values: Tensor = self.augnet.policy.theta.detach().clone()
        return values

    def fit(
        self,
        folder: Path,
        *callbacks: pl.Callback,
        data: ToySplits | None = None,
        ckpt_path: Path | None = None,
        compiled: Any = None,
        **arguments: Any,
    ) -> pl.Trainer:
        """Train for four epochs of four steps, in the module's compiled form if one is given."""
        own = [] if self.callback is None else [self.callback]
        settings = {"max_epochs": 4, "default_root_dir": folder, "callbacks": [*own, *callbacks], **arguments}
        trainer = toy_trainer(**settings)
        trainer.fit(self.module if compiled is None else compiled, datamodule=data or ToySplits(), ckpt_path=ckpt_path)
        return trainer

    def check_learned(self, start: Tensor) -> None:
        """The policy moved, and all numbers are finite."""
        assert (self.theta - start).abs().max() > 0.05
        numbers = [*self.module.state_dict().values(), *self.augnet.state_dict().values()]
        assert all(bool(value.isfinite().all()) for value in numbers)

    def state(self) -> dict[str, Tensor]:
        """All weights, the policy's among them, copies."""
        parts = {**self.module.state_dict(), **{f"policy.{k}": v for k, v in self.augnet.state_dict().items()}}
        return {name: value.detach().clone() for name, value in parts.items()}


def own(**arguments: Any) -> Way:
    return Way(toy_classifier(**arguments), None)


def theirs(module: Callable[[], pl.LightningModule] = Theirs, **arguments: Any) -> Way:
    pl.seed_everything(0, verbose=False)
    settings: dict[str, Any] = {"ops": OPS, "learner": LearnerSettings(interval=1, warmup=0)}
    return Way(module(), LearnedAugmentation(**{**settings, "influence": ToyData().influence, **arguments}))


WAYS: dict[str, Callable[..., Way]] = {"own": own, "callback": theirs}
