"""The callback on a module of other people does all that the product's own classifier does, bit for bit."""

import copy
from pathlib import Path
from typing import Any, get_args

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from toys import OPS, SIDE, toy_classifier, toy_trainer
from two_ways import ToySplits

from augnet import AugNet, save_policy
from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.classifier import AugmentedClassifier
from lightning_modules.learner import LearnerSettings
from lightning_modules.learner.policy_choice import Control, PolicyName
from lightning_modules.learner.sample_weights import SampleSettings
from lightning_modules.learner.staged import StagedSettings

CASES: dict[str, dict[str, Any]] = {
    **{f"policy {name}": {"policy": name} for name in get_args(PolicyName) if name != "trivial_augment_mixture"},  # RGB
    **{f"control {name}": {"control": name} for name in get_args(Control)},
    "ops in pairs": {"policy": "mixture", "ops_per_image": 2},
    "base policy": {"base_policy": "flip_crop"},
    "mixing in front": {"base_policy": "mixup"},
    "mixing ops": {"ops": ["cutmix", "translate_x"]},
    "half of the images": {"policy_probability": 0.5},
    "weights and soft labels": {"samples": SampleSettings(weights=True, soft_labels=True, warmup=2, refresh=2)},
    "weights without a policy": {"samples": SampleSettings(weights=True, warmup=2, refresh=2), "control": "plain"},
    "staged": {"schedule": "staged", "staged": StagedSettings(steps=5)},
    "staged field": {
        "schedule": "staged",
        "policy": "field",
        "base_policy": "flip_crop",
        "staged": StagedSettings(steps=3, pretrain=2),
    },
    "smoothed labels": {"label_smoothing": 0.1},
}


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


class Theirs(pl.LightningModule):
    """What somebody else wrote: nothing of this project in it."""

    def __init__(self, network: nn.Module, smoothing: float) -> None:
        super().__init__()
        self.network, self.loss = network, nn.CrossEntropyLoss(label_smoothing=smoothing)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = self.loss(self.network(batch[0]), batch[1])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(self.network.parameters())


def trained(module: pl.LightningModule, folder: Path, *callbacks: pl.Callback) -> None:
    pl.seed_everything(0, verbose=False)
    trainer = toy_trainer(max_epochs=3, limit_val_batches=0, default_root_dir=folder, callbacks=[*callbacks])
    trainer.fit(module, datamodule=ToySplits(influence_source="cross_fit", folds=4))


def check_equal(case: dict[str, Any], folder: Path) -> tuple[AugmentedClassifier, LearnedAugmentation]:
    """Train both ways from the same start; the classifiers and the policies are the same."""
    learner = LearnerSettings(interval=1, warmup=0)
    known = {"in_channels": 1, "num_classes": 3, "image_size": (SIDE, SIDE)}
    own = toy_classifier(learner=learner, optimizer=sgd, lr_schedule="constant", **{**known, **case})
    arguments = {"ops": OPS, "learner": learner, "classifier": "network", **known, **case}
    callback = LearnedAugmentation(**arguments)
    if callback.augnet is not None and own.augnet is not None:
        callback.augnet.load_state_dict(own.augnet.state_dict())  # encoders start at random
    theirs = Theirs(copy.deepcopy(own.network), case.get("label_smoothing", 0.0))
    start = copy.deepcopy(own.network.state_dict())
    trained(own, folder)
    trained(theirs, folder, callback)
    assert any(not torch.equal(value, start[name]) for name, value in own.network.state_dict().items())
    for name, value in own.network.state_dict().items():
        assert torch.equal(theirs.network.state_dict()[name], value), name
    assert (own.learned is None) == (callback.learned is None)
    if own.learned is not None and callback.learned is not None:
        for name, value in own.learned.state_dict().items():
            assert torch.equal(callback.learned.state_dict()[name], value), name
    return own, callback


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if "field" in one else one for one in CASES]
)
def test_both_ways_train_the_same(name: str, tmp_path: Path) -> None:
    own, callback = check_equal(CASES[name], tmp_path)
    learns = CASES[name].get("control", "none") not in ("plain", "uniform")
    assert (own.learner is not None) == (callback.learner is not None) == learns
    if own.learner is not None and callback.learner is not None:
        assert own.learner.updates == callback.learner.updates > 0
    if own.samples is not None and callback.samples is not None:
        assert torch.equal(own.samples.log_weights, callback.samples.log_weights)
    assert (own.samples is None) == (callback.samples is None) == ("samples" not in CASES[name])


def test_both_ways_train_behind_a_saved_policy(tmp_path: Path) -> None:
    save_policy(AugNet.from_ops({"rotation": 30.0}, 0.5), tmp_path / "saved.json")
    own, callback = check_equal({"policy_file": str(tmp_path / "saved.json")}, tmp_path)
    assert own.learner is callback.learner is None


def test_a_policy_that_needs_the_images_is_built_when_they_are_known(tmp_path: Path) -> None:
    learner = LearnerSettings(interval=1, warmup=0)
    callback = LearnedAugmentation(OPS, policy="class_conditional", classifier="network", learner=learner)
    before = callback.learned
    trained(Theirs(toy_classifier().network, 0.0), tmp_path, callback)
    assert before is None
    assert callback.learned is not None
    assert set(callback.learned.describe()) == set(OPS)
    assert callback.last_update is not None


def test_the_control_uniform_of_a_policy_for_each_image_needs_no_facts(tmp_path: Path) -> None:
    callback = LearnedAugmentation(OPS, policy="conditional", control="uniform")
    assert callback.augnet is not None
    assert callback.augnet.describe()["translate_x"]["half_width"] == pytest.approx(OPS["translate_x"])
    assert LearnedAugmentation(OPS, policy="conditional", control="plain").augnet is None


def test_images_are_mixed_only_where_the_number_of_classes_is_known(tmp_path: Path) -> None:
    callback = LearnedAugmentation(OPS, base_policy="mixup", control="plain")
    with pytest.raises(ValueError, match=r"images are mixed .*give num_classes"):
        trained(Theirs(toy_classifier().network, 0.0), tmp_path, callback)
