"""A training batch as the learner of a policy sees it."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from augnet import AugNet, MixturePolicy
from augnet.baselines import Baseline, MixingBaseline
from augnet.batch import Batch
from augnet.network import Draws
from augnet.policies import RangeTable
from lightning_modules.learner.last_layer_influence import LastLayerInfluence
from lightning_modules.learner.ranks import Ranks, draw
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.targets import as_probabilities, behind


@dataclass(frozen=True)
class Seen:
    """A batch before and behind the policy, and what the classifier makes of it.

    Attributes:
        originals: Images `[B, C, H, W]` behind the base policy.
        augmented: Behind the policy with its narrow ranges widened (`LearnerSettings.probe`), which is learned from.
            They carry gradient to the policy where it is learned through the images.
        trained: By the same draws from the ranges as they are, as the classifier trains on them; constants.
        targets: `[B]`, or `[B, K]` where images are mixed.
        choices: Of a mixture that is learned by the score function.
        features: Of `augmented`, `[B, D]`.
        logits: Of `augmented`, `[B, K]`.
        original: Features and logits of `originals`, where they are needed.
        trained_logits: Of `trained`, where they are needed.
    """

    originals: Tensor
    augmented: Tensor
    trained: Tensor
    targets: Tensor
    choices: Tensor | None
    features: Tensor
    logits: Tensor
    original: tuple[Tensor, Tensor] | None
    trained_logits: Tensor | None


class BatchViews:
    """Puts batches behind base policy and policy, and looks at them through the classifier.

    Args:
        augnet: The policy.
        base: A fixed policy in front of it; None for none.
        influence: Looks through the classifier.
        settings: `probe`, `radius` and `estimator`.
        ranks: Among which the batches are divided.
        generator: Source of all draws.
    """

    def __init__(
        self,
        augnet: AugNet[Any, Any],
        base: Baseline | MixingBaseline | None,
        influence: LastLayerInfluence,
        settings: LearnerSettings,
        ranks: Ranks,
        generator: torch.Generator,
    ) -> None:
        self.augnet, self.base, self.influence, self.settings = augnet, base, influence, settings
        self.ranks, self.generator = ranks, generator
        self.num_classes = influence.capture.head.out_features
        self.by_score = isinstance(augnet.policy, MixturePolicy) and settings.estimator == "score_function"
        self.probe = settings.probe if isinstance(augnet.policy, RangeTable) else 0.0

    def based(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """This rank's images and labels behind the base policy, which is drawn for the global batch."""
        if self.base is None:
            return images, labels
        _, images, labels = self.whole(images, labels)
        return self.ranks.own(images), self.ranks.own(labels)

    def whole(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The images of all ranks, and these images and their labels behind the base policy."""
        everyone = self.ranks.gather(images)
        return everyone, *behind(self.base, everyone, self.ranks.gather(labels), self.num_classes, self.generator)

    def see(self, images: Tensor, labels: Tensor, checks: bool) -> Seen:
        """Augment a batch and look at it; at the originals only where they are needed.

        Args:
            images: `[B, C, H, W]` in [0, 1], not augmented.
            labels: `[B]`.
            checks: Whether the guard will look at what the classifier recognises.
        """
        with torch.no_grad():
            originals, targets = self.based(images, labels)
            wanted = checks or self.settings.radius is not None
            original = self.influence.look(originals) if wanted else None
        if self.augnet.space.mixes:
            targets = as_probabilities(targets, self.num_classes)
        draws = draw(self.augnet, originals, self.ranks, self.generator)
        augmented, mixed, choices = self._augment(originals, targets, draws)
        features, logits = self.influence.look(augmented)
        trained, trained_logits = augmented.detach(), logits if checks else None
        if self.probe:
            with torch.no_grad():
                trained = self.augnet(originals, targets, draws=draws)[0]
                trained_logits = self.influence.look(trained)[1] if checks else None
        return Seen(originals, augmented, trained, mixed, choices, features, logits, original, trained_logits)

    def _augment(self, originals: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images behind the widened policy, their targets, and the choices behind them if they are to be scored."""
        if not self.by_score:
            with self.augnet.policy.widened(self.probe):
                return *self.augnet(originals, targets, draws=draws), None
        with torch.no_grad():
            magnitudes, choices = cast(MixturePolicy, self.augnet.policy).choose(originals, draws.numbers)
            batch = self.augnet.space.apply_to(Batch(originals, targets), magnitudes, draws.noise)
            return batch.images, cast(Tensor, batch.labels), choices
