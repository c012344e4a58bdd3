"""The arms: modules to train, their data and their callbacks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torchvision.transforms.v2 as T
import yaml
from torch import nn

from augnet.baselines import make_baseline
from benchmarks.step_cost.data import RandomImages, picture_loader
from benchmarks.step_cost.modules import Foreign, KorniaTrivialAugment
from benchmarks.step_cost.task import Task
from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.learner.policy_choice import PolicyName

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "WRN-16-1": ("lightning_modules.classifier.models.WideResNet", {"depth": 16, "widen_factor": 1}),
    "ResNet-20": ("pytorchcv/resnet20_cifar10", {}),
}
_WIDE = "benchmarks.step_cost.modules.WideFeatures"
_OPS: dict[str, float] = yaml.safe_load((Path(__file__).parents[2] / "configs/cifar10.yaml").read_text())["model"][
    "ops"
]


class Run(NamedTuple):
    """Arguments of `Trainer.fit`."""

    module: pl.LightningModule
    data: Any
    callbacks: list[pl.Callback]


class Setup(NamedTuple):
    """A way to train.

    Attributes:
        text: Its name in the tables.
        build: Returns what is trained.
        reference: Name of the arm that it is compared with.
    """

    text: str
    build: Callable[[Task], Run]
    reference: str = "plain"


def network(task: Task) -> dict[str, Any]:
    """Return the arguments of a module that define its network."""
    model, arguments = (_WIDE, {"features": task.features}) if task.features else MODELS[task.model]
    return {"model": model, "model_kwargs": arguments, "num_classes": task.classes}


def fixed(make: Callable[[], nn.Module] | None) -> Callable[[Task], Run]:
    """Return a builder of a policy on each batch that does not learn, or of none."""

    def build(task: Task) -> Run:
        return Run(Classifier(augmentation=make() if make else None, **network(task)), RandomImages(task), [])

    return build


def in_loader(workers: int, *transforms: Callable[[Any], Any]) -> Callable[[Task], Run]:
    """Return a builder of transforms of single PIL images in torch's loader."""

    def build(task: Task) -> Run:
        transform = T.Compose([*transforms, T.ToImage(), T.ToDtype(torch.float32, scale=True)])
        return Run(Classifier(**network(task)), picture_loader(task, transform, workers), [])

    return build


def learned(policy: PolicyName = "ranges", base: str = "none") -> Callable[[Task], Run]:
    """Return a builder of this project's module."""

    def build(task: Task) -> Run:
        module = AugmentedClassifier(
            ops=_OPS, policy=policy, base_policy=base, learner=task.learner, in_channels=3, **network(task)
        )
        return Run(module, RandomImages(task), [])

    return build


def foreign(task: Task) -> Run:
    """Return a module of another project."""
    return Run(Foreign(**network(task)), RandomImages(task), [])


def callback(task: Task) -> Run:
    """Return a module of another project with this project's callback."""
    run = foreign(task)
    return run._replace(callbacks=[LearnedAugmentation(_OPS, run.data.influence_set(), learner=task.learner)])


ARMS: dict[str, Setup] = {
    "plain": Setup("no augmentation", fixed(None)),
    "flip_crop": Setup("flip + crop, batched", fixed(lambda: make_baseline("flip_crop"))),
    "trivial_augment": Setup("TrivialAugment, batched", fixed(lambda: make_baseline("trivial_augment"))),
    "kornia": Setup("kornia TrivialAugment, one op a batch", fixed(lambda: KorniaTrivialAugment(per_sample=False))),
    "kornia_per_sample": Setup(
        "kornia TrivialAugment, per sample", fixed(lambda: KorniaTrivialAugment(per_sample=True))
    ),
    "loader_2": Setup("torchvision, no augmentation, 2 workers", in_loader(2)),
    "loader_0": Setup("torchvision, no augmentation, 0 workers", in_loader(0)),
    "torchvision_2": Setup("torchvision TrivialAugmentWide, 2 workers", in_loader(2, T.TrivialAugmentWide())),
    "torchvision_0": Setup("torchvision TrivialAugmentWide, 0 workers", in_loader(0, T.TrivialAugmentWide())),
    "learned": Setup("**learned** ranges", learned()),
    "flip_crop+learned": Setup("flip + crop, then learned ranges", learned(base="flip_crop")),
    "learned_mixture": Setup("learned mixture from TrivialAugment", learned("trivial_augment_mixture")),
    "foreign": Setup("a foreign module, no augmentation", foreign, "foreign"),
    "callback": Setup("the same and the callback `LearnedAugmentation`", callback, "foreign"),
}
