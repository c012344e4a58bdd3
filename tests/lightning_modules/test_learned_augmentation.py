"""The callback on modules of other people: plain, manually optimised, torchvision's, timm's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from toys import CLASSES, OPS, ToyData, ToyNet, blobs, toy_trainer

from augnet import load_policy
from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.learner.settings import LearnerSettings

EVERY_STEP = LearnerSettings(interval=1, warmup=0)


class Plain(pl.LightningModule):
    """What people write: nothing of this project in it."""

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.network = ToyNet() if network is None else network
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = (batch["image"], batch["label"]) if isinstance(batch, dict) else batch[:2]
        self.seen.append(images.detach().clone())
        return nn.functional.cross_entropy(self(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Manual(Plain):
    """Two optimisers, stepped by hand."""

    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        optimizers: Any = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()

    def configure_optimizers(self) -> Any:
        head = list(self.network.head.parameters())  # type: ignore[union-attr]
        body = list(self.network.body.parameters())  # type: ignore[union-attr]
        return torch.optim.SGD(head, lr=0.05), torch.optim.SGD(body, lr=0.05)


def learned(**arguments: Any) -> LearnedAugmentation:
    settings: dict[str, Any] = {"ops": OPS, "influence": ToyData().influence, "learner": EVERY_STEP}
    return LearnedAugmentation(**{**settings, **arguments})


def described(callback: LearnedAugmentation) -> Any:
    assert callback.augnet is not None
    return callback.augnet.describe()


def fit(module: pl.LightningModule, callback: LearnedAugmentation, folder: Path, **arguments: Any) -> pl.Trainer:
    trainer = toy_trainer(callbacks=[callback], default_root_dir=folder, **arguments)
    trainer.fit(module, ToyData())
    return trainer


@pytest.mark.parametrize("kind", [Plain, Manual])
def test_batches_are_augmented_and_the_policy_is_learned(kind: Callable[[], Plain], tmp_path: Path) -> None:
    pl.seed_everything(0, verbose=False)
    callback, module = learned(), kind()
    before = described(callback)
    trainer = fit(module, callback, tmp_path)
    assert described(callback) != before
    assert callback.learner is not None
    steps = 4 * (2 if kind is Manual else 1)
    assert trainer.global_step == steps
    assert callback.learner.updates == 4
    originals = ToyData().training[0].flatten(1)
    moved = torch.cat(module.seen).flatten(1)
    assert (torch.cdist(moved, originals).amin(dim=1) > 1e-3).float().mean() > 0.9
    assert callback.learned is not None
    assert load_policy(tmp_path / "policy.json").describe() == callback.learned.describe()
    assert "training_step" not in vars(module)


@pytest.mark.slow
def test_the_planted_shift_is_found(tmp_path: Path) -> None:
    pl.seed_everything(0, verbose=False)
    callback = learned(initial_range=0.2)
    fit(Plain(), callback, tmp_path, max_epochs=25)
    widths = {name: float(facts["half_width"]) for name, facts in described(callback).items()}
    assert widths["translate_y"] > 0.12  # from 0.08; true is 2.5 of 12 pixels
    assert widths["translate_y"] > 1.5 * widths["translate_x"]


def grey_to_rgb(image: Tensor) -> Tensor:
    return image.expand(3, -1, -1)


class Photos(Dataset):
    """Blobs as normalised RGB images, in dictionaries."""

    def __init__(self, as_dict: bool) -> None:
        self.images, self.labels = blobs(24, 0, 0, channels=3)
        self.images = (self.images - 0.5) / 0.25
        self.as_dict = as_dict

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        image, label = self.images[index], self.labels[index]
        return {"image": image, "label": label, "name": "x"} if self.as_dict else (image, label, index)


@pytest.mark.parametrize("as_dict", [True, False])
@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_models_of_other_people_on_normalised_batches(source: str, as_dict: bool, tmp_path: Path) -> None:
    pl.seed_everything(0, verbose=False)
    if source == "timm":
        network = timm.create_model("resnet10t", num_classes=CLASSES)
    else:
        network = torchvision.models.shufflenet_v2_x0_5(num_classes=CLASSES)
    module = Plain(network)
    callback = learned(
        influence=DataLoader(Photos(as_dict), batch_size=12),
        classifier="network",
        pixel_mean=(0.5, 0.5, 0.5),
        pixel_std=0.25,
    )
    trainer = toy_trainer(callbacks=[callback], default_root_dir=tmp_path, max_steps=2)
    trainer.fit(module, DataLoader(Photos(as_dict), batch_size=12))
    assert callback.last_update is not None
    assert callback.last_update.influence.isfinite().all()
    seen = torch.cat(module.seen)
    assert seen.min() >= -2
    assert seen.max() <= 2
    assert seen.min() < -0.5


def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    def state(folder: Path, epochs: int, resume: Path | None = None) -> tuple[Any, Any]:
        pl.seed_everything(0, verbose=False)
        module, callback = Plain(), learned()
        trainer = toy_trainer(callbacks=[callback], default_root_dir=folder, max_epochs=epochs)
        trainer.fit(module, ToyData(), ckpt_path=resume)
        trainer.save_checkpoint(folder / "end.ckpt")
        return callback.learner, described(callback)

    first, _ = state(tmp_path / "a", 1)
    resumed, _ = state(tmp_path / "b", 2, tmp_path / "a" / "end.ckpt")
    assert resumed.updates == 2 * first.updates
    checkpoint = torch.load(tmp_path / "a" / "end.ckpt", weights_only=True)
    assert any("LearnedAugmentation" in key for key in checkpoint["callbacks"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classifier": "body"}, "Plain has no module 'body'; it has network"),
        ({"influence": (torch.zeros(0, 1, 12, 12), torch.zeros(0, dtype=torch.long))}, "influence set is empty"),
        ({"influence": (torch.full((3, 1, 12, 12), 7.0), torch.arange(3))}, r"\[0, 1\]"),
        ({"influence": (torch.zeros(3, 1, 12, 12), torch.tensor([0, 1, 9]))}, "9"),
    ],
)
def test_mistakes_are_said_before_training(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    module = Plain()
    with pytest.raises(ValueError, match=message):
        fit(module, learned(**arguments), tmp_path)
    assert module.seen == []


def test_batches_of_unknown_form(tmp_path: Path) -> None:
    trainer = toy_trainer(callbacks=[learned()], default_root_dir=tmp_path)
    with pytest.raises(ValueError, match="found the keys pixels"):
        trainer.fit(Plain(), DataLoader([{"pixels": torch.zeros(1, 12, 12)}]))  # type: ignore[arg-type]


@pytest.mark.parametrize("batches", [1, 2])
def test_resuming_repeats_no_update_when_gradients_are_accumulated(batches: int, tmp_path: Path) -> None:
    def updates(epochs: int, resume: Path | None) -> int:
        pl.seed_everything(0, verbose=False)
        callback = learned()
        options: dict[str, Any] = {"max_epochs": epochs, "accumulate_grad_batches": batches}
        trainer = toy_trainer(callbacks=[callback], default_root_dir=tmp_path, **options)
        trainer.fit(Plain(), ToyData(), ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        assert callback.learner is not None
        return callback.learner.updates

    updates(1, None)
    assert updates(2, tmp_path / "1.ckpt") == 8 // batches


@pytest.mark.parametrize("arguments", [{"ops": ["mixup", "translate_x"]}, {"base_policy": "cutmix"}])
def test_labels_of_mixed_images_are_probabilities(arguments: dict[str, Any], tmp_path: Path) -> None:
    targets: list[Tensor] = []

    class Watching(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            targets.append(batch[1])
            return super().training_step(batch, batch_idx)

    callback = learned(**arguments)
    fit(Watching(), callback, tmp_path)
    assert callback.learner is not None
    assert callback.learner.updates == 4
    found = torch.cat(targets)
    assert found.shape == (96, CLASSES)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(96))
    assert (found.amax(dim=1) < 0.99).float().mean() > 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ops": {"brightness": 0.3, "contrast": 1.0}}, "bound of brightness is 0.3 here and missing there"),
        ({"ops": {"translate_x": 0.2, "translate_y": 0.4}}, "bound of translate_x is 0.2 here and 0.4 there"),
        ({"policy": "intervals"}, "kind is interval here and range there"),
    ],
)
def test_a_state_is_that_of_one_policy(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    trainer = fit(Plain(), learned(), tmp_path)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    resumed = toy_trainer(callbacks=[learned(**arguments)], default_root_dir=tmp_path, max_epochs=2)
    with pytest.raises(ValueError, match=message):
        resumed.fit(Plain(), ToyData(), ckpt_path=tmp_path / "end.ckpt")


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    module, callback = Plain(), learned(classifier="network", policy_path=str(tmp_path / "file" / "policy.json"))
    with pytest.raises(ValueError, match=r"policy_path: nothing can be written into .*file"):
        toy_trainer(callbacks=[callback]).fit(module, datamodule=ToyData())
    assert not module.seen


def test_a_training_step_may_leave_the_number_of_the_batch_out(tmp_path: Path) -> None:
    class Short(Plain):
        def training_step(self, batch: Any) -> Tensor:  # type: ignore[override]
            return super().training_step(batch, 0)

    callback = learned()
    fit(Short(), callback, tmp_path)
    assert callback.learner is not None
    assert callback.learner.updates == 4
