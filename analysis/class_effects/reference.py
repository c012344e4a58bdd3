"""A trained classifier of a sweep, opened again: its features, and how near its classes are to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from lightning_modules.data import InfluenceDataModule
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

from ..exchange_rate.setting import Setting
from ..exchange_rate.training import data_of, model_of
from ..moments.policy_influence import read_rows
from .metrics import Floats
from .observation import weights_file

_BATCH = 500


@dataclass(frozen=True)
class Rows:
    """Images as the last layer sees them: features `[N, D]`, logits `[N, K]` and class numbers `[N]`."""

    features: Tensor
    logits: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Reference:
    """A trained classifier in evaluation mode, and the data it was trained on."""

    capture: FeatureCapture
    data: InfluenceDataModule

    @classmethod
    def load(cls, setting: Setting, weights: Path) -> Reference:
        """Open a run of a sweep.

        Args:
            setting: The run.
            weights: The folder that `train_and_observe` was given.

        Raises:
            FileNotFoundError: If its weights are gone.
        """
        file = weights_file(weights, setting)
        if not file.is_file():
            raise FileNotFoundError(f"there is no {file}: delete the run's result, {setting.key}.json, to repeat it.")
        data = data_of(setting)
        model = model_of(setting, data)
        model.network.load_state_dict(load_file(file))
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)
        images, _ = data.splits.validation.__getitems__([0, 1])
        return cls(FeatureCapture(model, find_last_linear(model.network, images.to(model.device))), data)

    def rows(self, images: Tensor, labels: Tensor) -> Rows:
        """Pass images `[N, C, H, W]` with class numbers `[N]` through the network."""
        return Rows(*read_rows(self.capture, images, _BATCH), labels.to(self.capture.head.weight.device))

    def validation(self) -> Rows:
        """The validation images."""
        return self.rows(*self.data.splits.validation.everything())


def class_similarity(rows: Rows) -> Floats:
    """Cosine between the mean features of two classes, seen from the mean of all class means: `[K, K]` in [-1, 1].

    A stand-in for similarity of meaning: near classes are those that the network's features hardly tell apart.
    """
    classes = rows.logits.shape[1]
    features = rows.features.double()
    means = torch.stack([features[rows.labels == k].mean(dim=0) for k in range(classes)])
    directions = torch.nn.functional.normalize(means - means.mean(dim=0), dim=1)
    return np.asarray((directions @ directions.T).cpu().numpy(), dtype=np.float64)
