"""Kind of study `large_batch`: batch sizes, with and without distinctive regularization."""

from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch

from augnet.baselines import FlipCrop
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.classifier.distinctive import merge_copy
from lightning_modules.data import ImageDataModule
from studies.data_location import data_path
from studies.engine import Cache, Kind, Result, Setting, TableReport
from studies.training import silent_trainer

_TEST_SIZE = 5000


@dataclass(frozen=True, kw_only=True)
class LargeBatchRun(Setting):
    """A small network trained for a number of epochs with flip + crop.

    Args:
        data: Data set, see `studies.data_location`.
        train_size: Training images.
        batch: Images a batch.
        lr: Highest learning rate at a batch of 128; it grows in proportion to the batch. Warm-up and cosine decay.
        epochs: Of training.
        width: Of the network, see `SmallConvNet`.
        pixel_mean: Subtracted from every pixel in front of the network.
        pixel_std: Every pixel is divided by it after that.
        model: Further arguments of `Classifier`.
    """

    data: str
    train_size: int = 8192
    batch: int = 128
    lr: float = 0.05
    epochs: int = 10
    width: int = 12
    pixel_mean: float | list[float] = 0.5
    pixel_std: float | list[float] = 0.25
    model: dict[str, Any] = field(default_factory=dict)

    def run(self, cache: Cache) -> Result:
        """Train and test.

        Returns:
            `dropped` and `merged`: test accuracy in [0, 1] without the copy of the doubled last layer and with the
            copy merged into it; `squared_cosine` of the two at the end; `steps`, `parameters`, `train_loss`. Without
            a doubled layer there are no `merged` and `squared_cosine`.
        """
        pl.seed_everything(self.seed, verbose=False)
        data = ImageDataModule(
            data_path(self.data),
            train_size=self.train_size,
            influence_size=10,
            test_size=_TEST_SIZE,
            batch_size=self.batch,
            seed=self.seed,
        )
        model = self._classifier(data)
        trainer = silent_trainer(accelerator="cpu", precision="bf16-mixed", max_epochs=self.epochs)
        trainer.fit(model, datamodule=data)
        data.batch_size = 1000
        result: Result = {
            "steps": trainer.global_step,
            "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
            "train_loss": float(trainer.callback_metrics["train/loss"]),
        }
        if model.distinctive is None:
            return {**result, "dropped": _test(trainer, model, data)}
        twin = model.distinctive.twin
        result |= {"squared_cosine": float(twin.penalty().detach()), "dropped": _test(trainer, model, data)}
        merge_copy(twin)
        return {**result, "merged": _test(trainer, model, data)}

    def _classifier(self, data: ImageDataModule) -> Classifier:
        def optimizer(parameters: Any) -> torch.optim.Optimizer:
            rate = self.lr * self.batch / 128
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)

        return Classifier(
            data.num_classes,
            data.in_channels,
            model_kwargs={"width": self.width},
            optimizer=optimizer,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            augmentation=FlipCrop(),
            **self.model,
        )


def _test(trainer: pl.Trainer, model: Classifier, data: ImageDataModule) -> float:
    return float(trainer.test(model, datamodule=data, verbose=False)[0]["test/acc"])


KIND = Kind(LargeBatchRun, TableReport)
