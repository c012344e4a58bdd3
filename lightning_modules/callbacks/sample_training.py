"""Weights and labels of the training images in a Lightning training."""

import pytorch_lightning as pl
from torch import Tensor, nn

from lightning_modules.callbacks.trainer_facts import influence_data
from lightning_modules.learner.augmenter import Augmenter
from lightning_modules.learner.checks import check_labels
from lightning_modules.learner.influence_set import classifier_of
from lightning_modules.learner.sample_weights import SampleSettings, SampleWeights
from lightning_modules.learner.settings import LearnerSettings


def samples_of(
    trainer: pl.Trainer,
    network: nn.Module,
    augmenter: Augmenter,
    influence_set: tuple[Tensor, Tensor],
    settings: SampleSettings,
    curvature: LearnerSettings,
) -> SampleWeights:
    """Return the weights and labels at their start; ValueError if the data module does not number its images.

    The influence set, images `[M, C, H, W]` in [0, 1] and labels `[M]`, is that of the augmenter.
    """
    data = influence_data(trainer)
    if data is None:
        raise ValueError(
            "samples: weights and soft labels need to know which image is which: expected a data module derived "
            f"from InfluenceDataModule, found {type(trainer.datamodule).__name__}."  # type: ignore[attr-defined]
        )
    capture = augmenter.capture or classifier_of(network, augmenter.normalization, influence_set, augmenter.loss)
    labels = data.training_images.labels
    check_labels(labels, capture.head.out_features)
    ranks, context = augmenter.augmentation.ranks, trainer.precision_plugin.forward_context
    return SampleWeights(settings, labels, capture, influence_set, curvature, ranks, context, augmenter.loss)
