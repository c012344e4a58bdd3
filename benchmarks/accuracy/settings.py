"""Everything that the result of one run depends on, and the key it is cached under."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from analysis.exchange_rate.setting import Training
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.data import InfluenceSource
from lightning_modules.learner.sample_weights import SampleSettings

_FORMAT = 1  # raise it when the same setting gives another result, as after a change of defaults: old ones are not read
_FIXED = ("plain", "uniform")


@dataclass(frozen=True)
class Data:
    """The images, before a task changes them.

    Args:
        path: `digits` for those of scikit-learn, otherwise see `ImageDataModule`.
        train_size: Training images, balanced over the classes; digits have what is left.
        influence_size: Images of the influence set.
        val_size: Images that choose between variants, see `Study.tuned`.
        test_size: Test images; all that there are by default.
        image_size: Side that images are resized to; by default they keep theirs, digits have 28 pixels.
    """

    path: str = "digits"
    train_size: int | None = None
    influence_size: int = 200
    val_size: int = 200
    test_size: int | None = None
    image_size: int | None = None


@dataclass(frozen=True)
class Task:
    """What is asked of a classifier.

    Args:
        change: What is done to the splits, see `tasks.CHANGES`.
        options: Its arguments.
        truth: What was planted, to be found: op -> range; all other ops should stay near the identity.
    """

    change: Literal["nothing", "deployment", "dirt", "quarter_turns", "colour_cast", "noise_level"] = "nothing"
    options: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """One way to augment.

    Args:
        model: Arguments of `AugmentedClassifier`; what it takes from data and training is left out.
        influence_set: Where the influence set comes from. Arms that learn nothing `train` on it.
        folds: Of `cross_fit`.
        fold_epochs: Of `cross_fit`.
        retrain: Train a fresh classifier behind the policy that was learned, on all images; costs twice the time.
    """

    model: dict[str, Any]
    influence_set: InfluenceSource = "train"
    folds: int = 5
    fold_epochs: int = 1
    retrain: bool = False

    def check(self, name: str) -> None:
        """Raise ValueError if an arm cannot be trained, or not fairly.

        Args:
            name: Of the arm.
        """
        if (self.kind == "fixed") != (self.influence_set == "train"):
            raise ValueError(f"arm {name!r}: fixed arms, and they alone, train on the influence set (influence_set).")
        if self.retrain and self.kind == "fixed":
            raise ValueError(f"arm {name!r}: retrain is for arms that learn a policy.")
        if "policy_file" in self.model:
            raise ValueError(f"arm {name!r}: the content of a policy_file is not part of a run's key; leave it out.")
        small = {"model": "lightning_modules.classifier.models.SmallConvNet", "num_classes": 10, "in_channels": 3}
        arguments: dict[str, Any] = {"ops": ["rotation"], **self.model, **small}
        AugmentedClassifier(**arguments)

    @property
    def kind(self) -> Literal["fixed", "learned", "control"]:
        """What it is in a comparison: a rival, the method, or the method with its influence spoilt."""
        control = self.model.get("control", "none")
        if SampleSettings(**self.model.get("samples", {})).any:
            return "learned"  # with or without a policy
        if control in _FIXED:
            return "fixed"
        return "learned" if control == "none" else "control"


@dataclass(frozen=True)
class Setting:
    """One run."""

    task: Task
    data: Data
    arm: Arm
    training: Training
    seed: int

    @cached_property
    def key(self) -> str:
        """A hash of the setting."""
        content = {"format": _FORMAT, **asdict(self)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
