"""Everything that the result of one run of a sweep depends on, and the key it is cached under."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from augnet.baselines import make_baseline
from augnet.baselines.base import Baseline
from lightning_modules.learner.checks import require_at_least

_FORMAT = 1  # raise it when the same setting would train otherwise: old results are then not read


@dataclass(frozen=True)
class Training:
    """How every classifier of a sweep is trained: by SGD, for as many steps whatever the number of images.

    Args:
        steps: Training steps.
        batch_size: Images a batch; smaller training sets are taken whole.
        model: The network, see `Classifier`.
        model_kwargs: Its further arguments.
        lr: Highest learning rate of one warm-up and cosine decay to zero; Nesterov momentum is 0.9.
        weight_decay: Of all weights.
        pixel_mean: Subtracted from every pixel in front of the network.
        pixel_std: Every pixel is divided by it after that.
        precision: Of the arithmetic, as Lightning names it.
        accelerator: Lightning's name; one device.
    """

    steps: int = 2000
    batch_size: int = 128
    model: str = "lightning_modules.classifier.models.SmallConvNet"
    model_kwargs: dict[str, Any] = field(default_factory=dict)
    lr: float = 0.1
    weight_decay: float = 5e-4
    pixel_mean: float | list[float] = 0.5
    pixel_std: float | list[float] = 0.25
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        require_at_least(1, steps=self.steps, batch_size=self.batch_size)
        if not (self.lr > 0 and self.weight_decay >= 0):
            raise ValueError(f"expected lr > 0 and weight_decay >= 0, found {self.lr} and {self.weight_decay}.")


@dataclass(frozen=True)
class Measurement:
    """What accuracy is measured on: the validation split as it is, and corrupted. The test split stays sealed.

    Args:
        val_size: Images of the validation split.
        influence_size: Images that are set aside as in runs that learn a policy, and not used; at least one a class.
        image_size: Side that all images are resized to; by default they keep theirs.
        corruptions: Names from `corruptions.CORRUPTIONS`; an empty list measures none.
        severity: Of the corruptions, 1 to 5.
    """

    val_size: int = 5000
    influence_size: int = 200
    image_size: int | None = None
    corruptions: list[str] = field(default_factory=list)
    severity: int = 3


@dataclass(frozen=True)
class Setting:
    """One run.

    Args:
        path: The data, see `ImageDataModule`.
        size: Training images, balanced over the classes.
        policy: `none`, baselines joined by `+`, or a policy file (`.json`), alone or behind baselines and a `+`.
        views: Frozen augmented views that replace each image; 0 draws anew in every epoch.
        seed: Runs of one seed and size share data, initial weights and order whatever their policy.
        training: How it is trained.
        measurement: What accuracy is measured on.
    """

    path: str
    size: int
    policy: str
    views: int
    seed: int
    training: Training
    measurement: Measurement

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)
        require_at_least(0, views=self.views, seed=self.seed)
        if self.base != "none":
            base = make_baseline(self.base)
            if self.views and not isinstance(base, Baseline):
                raise ValueError(f"views: {self.base} mixes labels and cannot be frozen; leave it out.")
        if self.policy_file is not None and not Path(self.policy_file).is_file():
            raise FileNotFoundError(f"policies: there is no file {self.policy_file}.")
        if self.views and self.policy == "none":
            raise ValueError("views: without a policy all views of an image are the image; leave none out.")

    @property
    def base(self) -> str:
        """The part of the policy that is baselines, `none` if there is none."""
        return "+".join(part for part in self.policy.split("+") if not part.endswith(".json")) or "none"

    @property
    def policy_file(self) -> str | None:
        """The policy file of the policy.

        Raises:
            ValueError: If there are several, or it is not the last part.
        """
        files = [part for part in self.policy.split("+") if part.endswith(".json")]
        if not files:
            return None
        if len(files) > 1 or not self.policy.endswith(files[0]):
            raise ValueError(f"policies: {self.policy!r} may have one policy file, in the last place.")
        return files[0]

    @property
    def run_seed(self) -> int:
        """Seed of the splits, the weights and the order: runs of different sizes share none of them."""
        return int.from_bytes(hashlib.sha256(f"{self.seed} {self.size}".encode()).digest()[:4]) >> 1

    @cached_property
    def key(self) -> str:
        """A hash of the setting and of the content of the policy file."""
        content: dict[str, Any] = {"format": _FORMAT, **asdict(self)}
        if self.policy_file is not None:
            files = [Path(self.policy_file), Path(self.policy_file).with_suffix(".safetensors")]
            content["policy"] = [self.base, *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
