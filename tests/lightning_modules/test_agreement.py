"""A training loop whose images, labels or loss are not those of the learner is told so in its first steps."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from toys import OPS, ToyData, ToyNet, blobs, toy_trainer

from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.learner.agreement import check_images, first_input, is_compiled
from lightning_modules.learner.augmenter import Augmenter
from lightning_modules.learner.settings import LearnerSettings

EVERY_STEP = LearnerSettings(interval=1, warmup=0)
IMAGES, LABELS = blobs(96, 0, 0)
NO_VALIDATION = pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")


class Theirs(pl.LightningModule):
    """Somebody's module; tests change what it does to images and labels."""

    def __init__(self, mean: float = 0.0, std: float = 1.0, **loss: Any) -> None:
        super().__init__()
        self.model, self.mean, self.std = ToyNet(), mean, std
        self.loss = nn.CrossEntropyLoss(**loss)

    def logits(self, images: Tensor) -> Tensor:
        found: Tensor = self.model((images - self.mean) / self.std)
        return found

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = self.loss(self.logits(batch[0]), batch[-1])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def fit(module: pl.LightningModule, folder: Path, *parts: Tensor, **arguments: Any) -> LearnedAugmentation:
    pl.seed_everything(0, verbose=False)
    settings: dict[str, Any] = {"influence": ToyData().influence, "classifier": "model", "learner": EVERY_STEP}
    callback = LearnedAugmentation(OPS, **{**settings, **arguments})
    loader = DataLoader(TensorDataset(*(parts or (IMAGES, LABELS))), batch_size=24)
    toy_trainer(callbacks=[callback], default_root_dir=folder).fit(module, loader)
    return callback


def test_a_module_that_agrees_is_left_alone(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        callback = fit(Theirs(), tmp_path)
        assert callback.last_update is not None
        fit(Theirs(label_smoothing=0.2), tmp_path, label_smoothing=0.2)
        normalized = (IMAGES - 0.5) / 0.25
        source = ((ToyData().influence[0] - 0.5) / 0.25, ToyData().influence[1])
        fit(Theirs(), tmp_path, normalized, LABELS, influence=source, pixel_mean=0.5, pixel_std=0.25)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Theirs(0.5, 0.25), r"normalized there, \(images - \(0\.5\)\) / \(0\.25\)\. Let the classifier be the part"),
        (Theirs(0.0, 1 / 255), "they are multiplied by 255 there"),
        (Theirs(0.0, 255.0), "they are divided by 255 there"),
    ],
)
def test_images_that_the_module_prepares_itself(module: Theirs, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fit(module, tmp_path)


class InForward(Theirs):
    """What the message asks for: the module maps images to logits, its forward normalizes."""

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images)

    def logits(self, images: Tensor) -> Tensor:
        found: Tensor = self.model((images - self.mean) / self.std)
        return found


def test_the_module_itself_as_classifier_agrees(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert fit(InForward(0.5, 0.25), tmp_path, classifier=None).last_update is not None


class OnDevice(Theirs):
    """Normalizes after the transfer to the device."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [(batch[0] - 0.5) / 0.25, *batch[1:]]


def test_images_normalized_in_a_transfer_hook(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"negative values come from normalization.*pixel_mean"):
        fit(OnDevice(), tmp_path)
    with pytest.raises(ValueError, match="one of them is normalized and the other is not"):
        fit(OnDevice(), tmp_path, pixel_mean=0.5, pixel_std=0.25)


def test_images_that_the_module_changes_at_random(tmp_path: Path) -> None:
    class Noisy(Theirs):
        def logits(self, images: Tensor) -> Tensor:
            return super().logits(images.flip(-1) + 0.2 * torch.rand_like(images))

    with pytest.warns(UserWarning, match="changes its images between the policy and the classifier"):
        fit(Noisy(), tmp_path)


def test_a_classifier_that_is_not_run(tmp_path: Path) -> None:
    class Other(Theirs):
        def __init__(self) -> None:
            super().__init__()
            self.other = ToyNet()

    with pytest.warns(UserWarning, match="did not run the classifier"):
        fit(Other(), tmp_path, classifier="other")


def test_smoothing_that_was_not_stated(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"smooths its labels by 0\.10, and 0 was stated: give label_smoothing=0\.10"):
        fit(Theirs(label_smoothing=0.1), tmp_path)
    with pytest.raises(ValueError, match=r"smooths its labels by 0\.00, and 0\.3 was stated"):
        fit(Theirs(), tmp_path, label_smoothing=0.3)


def test_labels_at_another_place(tmp_path: Path) -> None:
    camera = (LABELS + 1) % 3
    with pytest.raises(ValueError, match="the labels are part 2 of the batch: give label_key=2"):
        fit(Theirs(), tmp_path, IMAGES, camera, LABELS)
    images, labels = ToyData().influence
    influence = DataLoader(TensorDataset(images, (labels + 1) % 3, labels), batch_size=30)
    callback = fit(Theirs(), tmp_path, IMAGES, camera, LABELS, label_key=2, influence=influence)
    assert callback.learner is not None
    assert torch.equal(callback.learner.influence.influence_set[1], labels)


def test_a_plain_loop_that_normalizes_itself() -> None:
    model = ToyNet()
    augmenter = Augmenter(model, ToyData().influence, OPS, learner=EVERY_STEP)
    model((augmenter(IMAGES[:24], LABELS[:24]) - 0.5) / 0.25)
    with pytest.raises(ValueError, match=r"normalized there, \(images - \(0\.5\)\) / \(0\.25\)"):
        augmenter.step(IMAGES[:24], LABELS[:24])
    agreeing = Augmenter(model, ToyData().influence, OPS, learner=EVERY_STEP)
    for _ in range(4):
        model(agreeing(IMAGES[:24], LABELS[:24]))
        assert agreeing.step(IMAGES[:24], LABELS[:24]) is not None
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_relations_of_single_channels() -> None:
    ours = torch.rand(4, 3, 5, 5)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    assert check_images(ours, [ours + 1e-4]) is None
    with pytest.raises(ValueError, match=r"\(images - \(0\.1, 0\.2, 0\.3\)\) / \(0\.5, 0\.6, 0\.7\)"):
        check_images(ours, [(ours - mean) / std])
    assert "changes its images" in str(check_images(ours, [torch.rand(4, 3, 5, 5)]))
    assert "changes its images" in str(check_images(ours, [ours[:, :, :4]]))
    for broken in (torch.full_like(ours, 0.5), ours * torch.nan):
        assert "changes its images" in str(check_images(torch.zeros_like(ours), [broken]))


def test_a_step_that_fails_leaves_no_hook(tmp_path: Path) -> None:
    class Failing(Theirs):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            super().training_step(batch, batch_idx)
            raise RuntimeError("out of memory")

    module = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(module, tmp_path)
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_a_model_compiled_in_place_is_known_as_compiled() -> None:
    model = ToyNet()
    assert not is_compiled(model)
    model.compile(backend="eager")
    assert is_compiled(nn.Sequential(model))


def test_the_first_layer_is_found_and_the_model_stays_as_it_was() -> None:
    model = ToyNet().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = first_input(model, IMAGES[:3])
    assert found is not None
    assert found[0] is next(part for part in model.modules() if isinstance(part, nn.Linear))
    assert torch.equal(found[1], IMAGES[:3].flatten(1))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert first_input(nn.Flatten(), IMAGES[:3]) is None
