"""One run of a strength sweep: train a classifier, and keep what it says about every image that is looked at."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors.torch import save
from torch import Tensor

from augnet.atomic_file import write_atomically

from ..exchange_rate.setting import Setting
from ..exchange_rate.training import data_of, fit_classifier, predict
from .metrics import confusion_counts

_LEAST = 1e-12  # probability


def train_and_observe(setting: Setting, weights: Path) -> dict[str, Any]:
    """Train one classifier and look at it on the validation and the test split.

    Args:
        setting: The run.
        weights: Folder that the trained weights go to, for `Reference`.

    Returns:
        `classes` (names); `validation` (confusion counts `[K][K]`, class then prediction); `test` (predicted class of
        every image, in order) and `labels` (theirs); `loss` (mean cross-entropy of the test images of each class);
        `train_loss`, on augmented images; `seconds`; `torch` (its version).
    """
    started = time.perf_counter()
    pl.seed_everything(setting.run_seed, verbose=False)
    data = data_of(setting)
    trainer, model = fit_classifier(setting, data)
    train_loss = float(trainer.callback_metrics["train/loss"])  # predicting clears it
    validation, test = data.splits.validation, data.splits.load_test()
    seen = predict(trainer, model, validation).argmax(dim=1)
    probabilities = predict(trainer, model, test)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    write_atomically(weights_file(weights, setting), save(state))
    return {
        "classes": list(data.class_names),
        "validation": confusion_counts(validation.labels.numpy(), seen.numpy(), data.num_classes).tolist(),
        "test": probabilities.argmax(dim=1).tolist(),
        "labels": test.labels.tolist(),
        "loss": class_losses(probabilities.double().clamp(min=_LEAST).log(), test.labels).tolist(),
        "train_loss": train_loss,
        "seconds": round(time.perf_counter() - started, 2),
        "torch": version("torch"),
    }


def weights_file(folder: Path, setting: Setting) -> Path:
    """Where the weights of a run are."""
    return folder / f"{setting.key}.safetensors"


def class_losses(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy `[K]` of the images of each class, in float64.

    Args:
        log_probabilities: `[N, K]`.
        labels: Class numbers `[N]`; every class has some.
    """
    own = -log_probabilities.double().gather(1, labels[:, None]).squeeze(1)
    return torch.stack([own[labels == k].mean() for k in range(log_probabilities.shape[1])])
