"""One run of a study of exchange rates: train on a subset behind a policy, and measure on the validation split."""

import hashlib
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import pytorch_lightning as pl

from augnet.baselines import make_baseline
from lightning_modules.data import ImageDataModule, InfluenceDataModule
from lightning_modules.learner.checks import require_at_least
from studies.corruptions import check_corruptions, corrupted_copy
from studies.engine import Cache, Result
from studies.fixed_policy import FixedPolicyRun, augmentation, split_policy
from studies.frozen_views import FrozenViews
from studies.training import accuracy_of

REFERENCE = "none"


@dataclass(frozen=True, kw_only=True)
class PolicyRun(FixedPolicyRun):
    """One classifier on a subset, behind a policy, measured on the validation split; the test split is not read.

    Args:
        policy: `none`, baselines joined by `+`, or a policy file (`.json`), alone or behind baselines and a `+`.
        views: Frozen augmented views that replace each image; 0 draws anew in every epoch.
        corruptions: Names from `studies.corruptions.CORRUPTIONS`.
        severity: Of the corruptions, 1 to 5.
    """

    policy: str = REFERENCE
    views: int = 0
    corruptions: list[str] = field(default_factory=list)
    severity: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, views=self.views)
        base, file = split_policy(self.policy)
        if base != "none":
            make_baseline(base)
        if self.views:
            if (base, file) == ("none", None):
                raise ValueError("views: without a policy all views of an image are the image; leave views out.")
            augmentation(base, file)
        check_corruptions(self.corruptions, self.severity)

    def content(self) -> dict[str, Any]:
        """Return all fields, with the content of a policy file in place of its name."""
        base, file = split_policy(self.policy)
        if file is None:
            return asdict(self)
        hashes = [hashlib.sha256(part.read_bytes()).hexdigest() for part in (file, file.with_suffix(".safetensors"))]
        return {**asdict(self), "policy": [base, *hashes]}

    def run(self, cache: Cache) -> Result:
        """Train, and return `accuracy`, `corrupted` (by name), `train_loss` of the last epoch, and `seconds`."""
        started = time.perf_counter()
        pl.seed_everything(self.run_seed, verbose=False)
        data = self._load()
        check_corruptions(self.corruptions, self.severity, data.in_channels)
        trainer, model = self.fit(data, *(("none", None) if self.views else split_policy(self.policy)))
        train_loss = float(trainer.callback_metrics["train/loss"])  # predicting clears it
        validation = data.splits.validation
        return {
            "accuracy": accuracy_of(trainer, model, validation),
            "corrupted": {
                name: accuracy_of(trainer, model, corrupted_copy(validation, name, self.severity, self.run_seed))
                for name in self.corruptions
            },
            "train_loss": train_loss,
            "seconds": round(time.perf_counter() - started, 2),
        }

    def _load(self) -> InfluenceDataModule:
        if self.views == 0:
            return ImageDataModule(**self.data_arguments())
        return FrozenViews(augment=augmentation(*split_policy(self.policy)), views=self.views, **self.data_arguments())
