"""The augmentation of the batches that a classifier trains on: base policy, then policy."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from augnet import AugNet
from augnet.baselines import Baseline, MixingBaseline, make_baseline
from lightning_modules.learner.normalization import Normalization
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.targets import apply_base, as_probabilities


def base_policy_of(base: str | Baseline | MixingBaseline | None) -> Baseline | MixingBaseline | None:
    """The base policy of a name, None for `none`; a policy as it is."""
    if base == "none" or not isinstance(base, str):
        return None if isinstance(base, str) else base
    try:
        return make_baseline(base)
    except ValueError as error:
        raise ValueError(f"base_policy: {error}") from error


@dataclass
class TrainingAugmentation:
    """Base policy, then policy.

    Attributes:
        base: A fixed policy in front; None for none.
        augnet: The policy; None for none.
        probability: Share of the images, in (0, 1], that pass the policy; the others pass the base policy alone.
        num_classes: K, for images that are mixed; None if no op and no base policy mixes.
        ranks: Among which the batches are divided; the policy is drawn for the global batch.
        normalization: Of the images by the data loader; none by default.
    """

    base: Baseline | MixingBaseline | None
    augnet: AugNet[Any, Any] | None
    probability: float = 1.0
    num_classes: int | None = None
    ranks: Ranks = field(default_factory=Ranks)
    normalization: Normalization = field(default_factory=lambda: Normalization(0.0, 1.0))

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise ValueError(
                f"policy_probability must lie in (0, 1], found {self.probability}: control plain has no policy."
            )

    @property
    def mixes(self) -> bool:
        """True if images are mixed with each other, and labels become probabilities."""
        return isinstance(self.base, MixingBaseline) or (self.augnet is not None and self.augnet.space.mixes)

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch; ValueError if images are to be mixed and the number of classes is not known.

        Args:
            images: `[B, C, H, W]`, normalized as the data loader does.
            labels: `[B]` int64, or `[B, K]` probabilities.

        Returns:
            Images like these; the labels, as probabilities `[B, K]` if images were mixed.
        """
        if self.mixes and self.num_classes is None:
            raise ValueError("images are mixed and their labels become probabilities [B, K]: give num_classes.")
        pixels, targets = self._augmented(self.normalization.pixels(images), labels)
        return self.normalization(pixels).to(images.dtype), targets

    def _augmented(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The same of pixels in [0, 1]."""
        if self.base is not None:
            generator = self.ranks.own_generator()
            images, targets = apply_base(self.base, images, targets, self.num_classes or 0, generator)
        if self.augnet is None:
            return images, targets
        if self.augnet.space.mixes:
            targets = as_probabilities(targets, self.num_classes or 0)
        draws = self.ranks.draw(self.augnet, images)
        augmented: tuple[Tensor, Tensor] = self.augnet(images, targets, draws=draws)
        return augmented if self.probability == 1 else self._chosen(augmented, (images, targets))

    def _chosen(self, augmented: tuple[Tensor, Tensor], originals: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The augmented ones of `probability` of the pairs of image and target, drawn one by one."""
        numbers = torch.rand(self.ranks.count * len(augmented[0]), device=augmented[0].device)
        chosen = self.ranks.own(numbers) < self.probability

        def merged(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(chosen.view(-1, *[1] * (new.ndim - 1)), new, old)

        return merged(augmented[0], originals[0]), merged(augmented[1], originals[1])
