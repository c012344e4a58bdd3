"""Runs that train a classifier with a fixed policy on a subset of some data."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from augnet import load_policy
from augnet.baselines import make_baseline
from augnet.baselines.base import Baseline
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.trainer import AugfluenceTrainer
from lightning_modules.data import InfluenceDataModule
from lightning_modules.learner.checks import require_at_least
from studies.data_location import data_path
from studies.engine import Setting
from studies.training import Training, classifier_of, trainer_of

Augment = Callable[[Tensor, Tensor], Tensor]  # images [B, C, H, W] and labels [B] -> images


@dataclass(frozen=True, kw_only=True)
class FixedPolicyRun(Setting):
    """A classifier trained on a class-balanced subset.

    Args:
        path: The data, see `ImageDataModule` and `studies.data_location`.
        size: Training images.
        training: Network and optimization.
        val_size: Images of the validation split.
        influence_size: Images that are set aside as in runs that learn a policy, and not used; at least one a class.
        image_size: Side that all images are resized to; by default they keep theirs.
    """

    path: str
    size: int
    training: Training = field(default_factory=Training)
    val_size: int = 5000
    influence_size: int = 200
    image_size: int | None = None

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)

    @property
    def run_seed(self) -> int:
        """Seed of the splits, the weights and the order; different for every size, the same for every policy."""
        return int.from_bytes(hashlib.sha256(f"{self.seed} {self.size}".encode()).digest()[:4]) >> 1

    def data_arguments(self) -> dict[str, Any]:
        """Return the arguments of `ImageDataModule`."""
        return {
            "path": data_path(self.path),
            "train_size": self.size,
            "influence_size": self.influence_size,
            "val_size": self.val_size,
            "image_size": self.image_size,
            "batch_size": self.training.batch_size,
            "seed": self.run_seed,
        }

    def fit(
        self, data: InfluenceDataModule, base: str, policy_file: Path | None
    ) -> tuple[AugfluenceTrainer, AugmentedClassifier]:
        """Train a classifier; seed the generators before, for runs that can be repeated.

        Args:
            data: The splits.
            base: Baselines joined by `+`, or `none`.
            policy_file: A policy behind them.

        Returns:
            The trainer, with the metrics of training, and the trained classifier.
        """
        model = classifier_of(
            self.training,
            data,
            base_policy=base,
            policy_file=None if policy_file is None else str(policy_file),
            control="plain" if policy_file is None else "none",
        )
        trainer = trainer_of(self.training)
        trainer.fit(model, datamodule=data)
        return trainer, model


def split_policy(policy: str) -> tuple[str, Path | None]:
    """Split a policy into baselines joined by `+` (`none` without any) and a policy file in the last place.

    Raises:
        ValueError: If there are several files, or one is not in the last place.
        FileNotFoundError: If there is no such file.
    """
    parts = policy.split("+")
    files = [part for part in parts if part.endswith(".json")]
    if len(files) > 1 or (files and parts[-1] != files[0]):
        raise ValueError(f"policy: {policy!r} may have one policy file, in the last place.")
    if files and not Path(files[0]).is_file():
        raise FileNotFoundError(f"policy: there is no file {files[0]}.")
    base = "+".join(part for part in parts if part not in files) or "none"
    return base, Path(files[0]) if files else None


def augmentation(base: str, policy_file: Path | None) -> Augment:
    """Return a policy as a function of images and labels.

    Args:
        base: Baselines joined by `+`, or `none`.
        policy_file: A policy behind them.

    Raises:
        ValueError: If the policy mixes images, so that labels would have to change as well.
    """
    first = None if base == "none" else make_baseline(base)
    second = None if policy_file is None else load_policy(policy_file)
    if not isinstance(first, Baseline | None) or (second is not None and second.space.mixes):
        raise ValueError(f"{base if policy_file is None else policy_file} mixes images and labels; leave it out.")

    def augment(images: Tensor, labels: Tensor) -> Tensor:
        images = images if first is None else first(images)
        return images if second is None else second(images, labels)[0]

    return augment
