"""A trained classifier with its data: its features, and the similarity of its classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.data import InfluenceDataModule
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

from ..moments.policy_influence import read_rows
from .metrics import Floats

_BATCH = 500


@dataclass(frozen=True)
class Rows:
    """Inputs and outputs of the last layer: features `[N, D]`, logits `[N, K]` and class numbers `[N]`."""

    features: Tensor
    logits: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Reference:
    """A trained classifier in evaluation mode, and the data it was trained on."""

    capture: FeatureCapture
    data: InfluenceDataModule

    @classmethod
    def of(cls, model: AugmentedClassifier, data: InfluenceDataModule) -> Reference:
        """Freeze a trained classifier, on a GPU if there is one, and capture its features."""
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)
        images, _ = data.splits.validation.__getitems__([0, 1])
        return cls(FeatureCapture(model, find_last_linear(model.network, images.to(model.device))), data)

    def rows(self, images: Tensor, labels: Tensor) -> Rows:
        """Pass images `[N, C, H, W]` with class numbers `[N]` through the network."""
        return Rows(*read_rows(self.capture, images, _BATCH), labels.to(self.capture.head.weight.device))

    def validation(self) -> Rows:
        """Pass the validation images through the network."""
        return self.rows(*self.data.splits.validation.everything())


def class_similarity(rows: Rows) -> Floats:
    """Return the cosine between the mean features of two classes, centered at the mean of all: `[K, K]` in [-1, 1].

    A substitute for semantic similarity: classes are similar if the features of the network hardly separate them.
    """
    classes = rows.logits.shape[1]
    features = rows.features.double()
    means = torch.stack([features[rows.labels == k].mean(dim=0) for k in range(classes)])
    directions = torch.nn.functional.normalize(means - means.mean(dim=0), dim=1)
    return np.asarray((directions @ directions.T).cpu().numpy(), dtype=np.float64)
