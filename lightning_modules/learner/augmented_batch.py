"""A training batch behind base policy and policy, and the classifier's outputs on it, for one update of the policy."""

from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor

from augnet import AugNet
from augnet.baselines import Baseline, MixingBaseline
from augnet.batch import Batch
from augnet.network import Draws
from lightning_modules.learner.last_layer_influence import LastLayerInfluence
from lightning_modules.learner.objective import pixel_change
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.targets import apply_base, as_probabilities


@dataclass(frozen=True)
class AugmentedBatch:
    """One row for each image of the global batch; rows of this rank carry gradient to its images.

    Axes: B images, D features, K classes.

    Attributes:
        features: Of the augmented images, `[B, D]`.
        logits: Of the augmented images, `[B, K]`.
        targets: `[B]` int64, or `[B, K]` probabilities where images are mixed.
        pixel_change: Mean squared change of a pixel that the classifier trains on, `[B]`.
        original_features: Of the images before the policy, `[B, D]`; None where nothing needs them.
        original_logits: Of the images before the policy, `[B, K]`; None where nothing needs them.
        trained_logits: Of the images that the classifier trains on, `[B, K]`; None where nothing needs them. They
            differ from `logits` where narrow ranges are widened (`LearnerSettings.probe`).
        choices: Of a mixture, one row for each image; None for other policies.
    """

    features: Tensor
    logits: Tensor
    targets: Tensor
    pixel_change: Tensor
    original_features: Tensor | None = None
    original_logits: Tensor | None = None
    trained_logits: Tensor | None = None
    choices: Tensor | None = None

    @property
    def finite(self) -> bool:
        """True if the classifier's outputs are finite."""
        return bool(self.features.isfinite().all() & self.logits.isfinite().all())

    def joined(self, ranks: Ranks) -> "AugmentedBatch":
        """The rows of all ranks."""
        rows: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        joined: dict[str, Any] = {name: None if part is None else ranks.join(part) for name, part in rows.items()}
        return AugmentedBatch(**joined)


@dataclass(eq=False)
class BatchAugmenter:
    """Augments training batches for the learner, by base policy and policy, and passes them through the classifier.

    All draws come from `generator`, which is in the same state on every rank; of the settings it uses `probe` and
    `radius`.
    """

    augnet: AugNet[Any, Any]
    base: Baseline | MixingBaseline | None
    influence: LastLayerInfluence
    settings: LearnerSettings
    ranks: Ranks
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.num_classes = self.influence.capture.head.out_features
        self.probe = self.settings.probe if self.augnet.policy.can_widen else 0.0

    def augment_and_classify(self, images: Tensor, labels: Tensor, checks: bool) -> tuple[AugmentedBatch, list[Tensor]]:
        """Augment this rank's part of a batch, images in [0, 1], and run the classifier on it.

        With `checks` the guard needs the accuracies on the originals and on the images trained on.

        Returns:
            The batch of all ranks; this rank's tensors that carry gradient to the policy (images, mixed targets).
        """
        with torch.no_grad():
            originals, targets = self.apply_base(images, labels)
            needed = checks or self.settings.radius is not None
            features, logits = self.influence.features_and_logits(originals) if needed else (None, None)
        if self.augnet.space.mixes:
            targets = as_probabilities(targets, self.num_classes)
        draws = self.ranks.draw(self.augnet, originals, self.generator)
        augmented, mixed, choices = self._augment(originals, targets, draws)
        augmented_features, augmented_logits = self.influence.features_and_logits(augmented)
        trained, trained_logits = augmented.detach(), augmented_logits.detach() if checks else None
        if self.probe:
            with torch.no_grad():
                trained = self.augnet(originals, targets, draws=draws)[0]
                trained_logits = self.influence.features_and_logits(trained)[1] if checks else None
        own = AugmentedBatch(
            features=augmented_features,
            logits=augmented_logits,
            targets=mixed,
            pixel_change=pixel_change(originals, trained),
            original_features=features,
            original_logits=logits,
            trained_logits=trained_logits,
            choices=choices,
        )
        return own.joined(self.ranks), [part for part in (augmented, mixed) if part.requires_grad]

    def apply_base(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """This rank's images and labels after the base policy, which is drawn for the global batch."""
        if self.base is None:
            return images, labels
        _, images, labels = self.apply_base_to_all(images, labels)
        return self.ranks.own(images), self.ranks.own(labels)

    def apply_base_to_all(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The images of all ranks, and these images and their labels after the base policy."""
        everyone = self.ranks.gather(images)
        labels = self.ranks.gather(labels)
        return everyone, *apply_base(self.base, everyone, labels, self.num_classes, self.generator)

    def _augment(self, originals: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images after the widened policy, their targets, and the choices behind them of a mixture."""
        if not self.augnet.policy.learns_from_choices:
            with self.augnet.policy.widened(self.probe):
                return *self.augnet(originals, targets, draws=draws), None
        with torch.no_grad():  # a mixture learns from its choices, by the score function
            magnitudes, choices = self.augnet.policy.choose(originals, draws.numbers)
            batch = self.augnet.space.apply_to(Batch(originals, targets), magnitudes, draws.noise)
            return batch.images, cast(Tensor, batch.labels), choices
