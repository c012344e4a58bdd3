import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import recall_score
from torch import Tensor, nn
from toys import CLASSES, Batch, ToyData, blobs, toy_trainer

from lightning_modules.classifier.classifier import Classifier
from lightning_modules.classifier.label_kinds import MOST_CLASSES


def classifier(**arguments: Any) -> Classifier:
    torch.manual_seed(0)
    settings = {"model": "toys.ToyNet", "num_classes": CLASSES, "in_channels": 1}
    return Classifier(**{**settings, **arguments})


class Negative(nn.Module):
    """Nobody could take it for the original."""

    def forward(self, images: Tensor) -> Tensor:
        return 1 - images


def spy(model: Classifier) -> list[tuple[bool, Tensor]]:
    """What the network is shown, and whether in training mode."""
    seen: list[tuple[bool, Tensor]] = []
    model.network.register_forward_pre_hook(lambda network, args: seen.append((network.training, args[0].clone())))
    return seen


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images, labels: (images * 255, labels), r"images must lie in \[0, 1\].*divide 8-bit images by 255"),
        (lambda images, labels: (images - 0.5, labels), r"images must lie in \[0, 1\].*normalization"),
        (lambda images, labels: ((images * 255).byte(), labels), "images must be floating point"),
        (lambda images, labels: (images, labels + 1), r"labels must lie in 0\.\.2 for 3 classes, got \[3\]"),
        (lambda images, labels: (images, labels - 1), r"labels must lie in 0\.\.2 for 3 classes, got \[-1\]"),
        (lambda images, labels: (images, labels.float()), "labels must be int64 class numbers"),
    ],
)
def test_wrong_batches_raise_before_a_step_is_taken(spoil: Any, message: str) -> None:
    model, data = classifier(), ToyData()
    before = weights(model)
    data.training = spoil(*data.training)
    with pytest.raises(ValueError, match=message):
        toy_trainer(num_sanity_val_steps=0).fit(model, datamodule=data)
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), found 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing must lie in"),
        (
            {"lr_schedule": "onecycle"},
            "lr_schedule must be one of one_cycle, cosine, multi_step, constant, found 'onecycle'",
        ),
        (
            {"lr_milestones": [150, 225]},
            r"lr_milestones are shares of the run, each in \(0, 1\): .*; found \[150, 225\]",
        ),
        ({"lr_milestones": []}, r"lr_milestones are shares of the run.*found \[\]"),
        ({"lr_milestones": [0.5, 1.0]}, "lr_milestones are shares of the run"),
        ({"lr_milestones": [0.5, float("nan")]}, "lr_milestones are shares of the run"),
        ({"lr_milestones": [0.75, 0.5]}, r"lr_milestones must increase, found \[0.75, 0.5\]"),
        ({"lr_milestones": [0.5, 0.5]}, "lr_milestones must increase"),
        ({"lr_factor": 1.0}, r"lr_factor must lie in \(0, 1\), found 1.0"),
        ({"lr_factor": 0.0}, "lr_factor must lie in"),
        ({"pixel_mean": [0.5, 0.5]}, "pixel_mean must be one number or 1"),
        ({"pixel_std": [0.5, 0.5, 0.5], "in_channels": 2}, "pixel_std must be one number or 2"),
        ({"num_classes": 1}, "the data have one class: a classifier needs images of two or more"),
        ({"pixel_mean": math.nan}, r"pixel_mean must lie in \[0, 1\], found nan"),
        ({"pixel_std": 0.0}, r"pixel_std must lie in .*found 0.0"),
        ({"model": "toys.NoSuchNet"}, "module toys has no class or function 'NoSuchNet'"),
        ({"model_kwargs": {"widht": 3}}, "cannot be built with .*widht"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**arguments)


def test_training_sees_augmented_images_and_evaluation_the_originals() -> None:
    model, data = classifier(augmentation=Negative()), ToyData()
    seen = spy(model)
    trainer = toy_trainer(num_sanity_val_steps=0)
    trainer.fit(model, datamodule=data)
    training = torch.cat([images for is_training, images in seen if is_training])
    validation = torch.cat([images for is_training, images in seen if not is_training])
    assert sorted(training.sum(dim=(1, 2, 3)).tolist()) == sorted((1 - data.training[0]).sum(dim=(1, 2, 3)).tolist())
    assert torch.equal(validation, data.validation[0])
    seen.clear()
    trainer.test(model, datamodule=data, verbose=False)
    assert torch.equal(torch.cat([images for _, images in seen]), data.validation[0])


def test_network_sees_normalised_pixels() -> None:
    model = classifier(in_channels=2, pixel_mean=[0.2, 0.6], pixel_std=[0.5, 0.1]).eval()
    images = torch.rand(4, 2, 12, 12)
    shown: list[Tensor] = []
    model.network[1].register_forward_pre_hook(lambda network, args: shown.append(args[0]))
    model(images)
    expected = torch.stack([(images[:, 0] - 0.2) / 0.5, (images[:, 1] - 0.6) / 0.1], dim=1)
    torch.testing.assert_close(shown[0], expected)


def evaluate(model: Classifier, batch: Batch) -> tuple[float, float]:
    """Loss and accuracy of the whole batch at once."""
    images, labels = batch
    with torch.no_grad():
        logits = model.eval()(images)
    accuracy = (logits.argmax(dim=1) == labels).float().mean()
    return float(nn.functional.cross_entropy(logits, labels)), float(accuracy)


def test_metrics_are_those_of_the_whole_split() -> None:
    """The last batch is smaller, and label smoothing is for training only."""
    model, data = classifier(label_smoothing=0.4), ToyData()
    trainer = toy_trainer()
    trainer.fit(model, datamodule=data)
    loss, accuracy = evaluate(model, data.validation)
    assert trainer.callback_metrics["val/loss"].item() == pytest.approx(loss, rel=1e-5)
    assert trainer.callback_metrics["val/acc"].item() == pytest.approx(accuracy)
    metrics = trainer.test(model, datamodule=data, verbose=False)[0]
    assert metrics["test/loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["test/acc"] == pytest.approx(accuracy)


def test_label_smoothing_is_in_the_training_loss() -> None:
    model = classifier(label_smoothing=0.4).eval()  # without dropout
    images, labels = blobs(8, 1, 0)
    model.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    logs = model(images).log_softmax(dim=1)
    targets = 0.6 * nn.functional.one_hot(labels, CLASSES) + 0.4 / CLASSES
    torch.testing.assert_close(model.training_step((images, labels), 0), -(targets * logs).sum(dim=1).mean())


def test_predictions_are_probabilities() -> None:
    model, data = classifier(), ToyData()
    batches: Any = toy_trainer().predict(model, dataloaders=data.val_dataloader())
    found = torch.cat(batches)
    images = data.validation[0]
    with torch.no_grad():
        torch.testing.assert_close(found, model.eval()(images).exp() / model(images).exp().sum(dim=1, keepdim=True))


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_learning_rate_over_the_run(schedule: str) -> None:
    model, data, rates = classifier(lr_schedule=schedule), ToyData(), []
    model.network.register_forward_hook(
        lambda network, args, output: rates.append(model.trainer.optimizers[0].param_groups[0]["lr"])
    )
    toy_trainer(max_epochs=5, limit_val_batches=0).fit(model, datamodule=data)
    assert len(rates) == 20
    rates.append(model.trainer.optimizers[0].param_groups[0]["lr"])
    if schedule == "constant":
        assert set(rates) == {0.1}
    elif schedule == "cosine":
        assert rates[0] == pytest.approx(0.1)
        assert rates[10] == pytest.approx(0.05)
        assert rates[20] == pytest.approx(0.0, abs=1e-9)
        assert rates == sorted(rates, reverse=True)
    else:
        peak = rates.index(max(rates))
        assert max(rates) == pytest.approx(0.1)
        assert 4 <= peak <= 6
        assert rates[0] < 0.01
        assert rates[19] < 1e-5


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "multi_step"])
def test_schedule_needs_an_end(schedule: str) -> None:
    trainer = toy_trainer(max_epochs=-1)
    with pytest.raises(ValueError, match=f"lr_schedule {schedule} needs to know how long the run is: set trainer.max"):
        trainer.fit(classifier(lr_schedule=schedule), datamodule=ToyData())


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "multi_step", "constant"])
def test_a_run_is_resumed_no_longer_than_its_learning_rate(schedule: str, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"lr_schedule": schedule, "lr_milestones": [0.5]}
    first = toy_trainer(max_epochs=2)
    first.fit(classifier(**fields), datamodule=ToyData())
    first.save_checkpoint(tmp_path / "last.ckpt")
    resume: dict[str, Any] = {"datamodule": ToyData(), "ckpt_path": tmp_path / "last.ckpt"}
    toy_trainer(max_epochs=2).fit(classifier(**fields), **resume)
    longer = toy_trainer(max_epochs=3)
    if schedule in ("multi_step", "constant"):
        longer.fit(classifier(**fields), **resume)
        assert longer.global_step == 12
    else:
        with pytest.raises(
            ValueError, match=r"reaches zero after 8 steps, and this run has 12: resume with the trainer"
        ):
            longer.fit(classifier(**fields), **resume)
        assert longer.global_step == 8


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_format(channels_last: bool) -> None:
    network = {
        "model": "lightning_modules.classifier.models.SmallConvNet",
        "model_kwargs": {"width": 4},
        "in_channels": 3,
    }
    model = classifier(**network, channels_last=channels_last)
    seen = spy(model)
    model(torch.rand(2, 3, 8, 8))
    convolution: nn.Conv2d = model.network[1].body[3]  # type: ignore[index, assignment]
    for tensor in (convolution.weight, seen[0][1]):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert tensor.is_contiguous() != channels_last


# Accuracy of each class


class Watch(pl.Callback):
    """Keeps what each validation showed; the check before training too."""

    def __init__(self) -> None:
        self.logits, self.labels = list[Tensor](), list[Tensor]()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.logits, self.labels = [], []

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.logits.append(pl_module(batch[0]))
        self.labels.append(batch[1])


def by_class(trainer: pl.Trainer) -> dict[str, float]:
    metrics = trainer.callback_metrics.items()
    return {key.removeprefix("val/acc/"): float(value) for key, value in metrics if key.startswith("val/acc/")}


def test_accuracy_of_each_class_is_its_recall_in_the_latest_validation() -> None:
    watch = Watch()
    trainer = toy_trainer(max_epochs=2, callbacks=[watch])
    trainer.fit(classifier(), datamodule=ToyData())
    labels, found = torch.cat(watch.labels), torch.cat(watch.logits).argmax(dim=1)
    expected = recall_score(labels, found, average=None)
    assert by_class(trainer) == pytest.approx({str(number): value for number, value in enumerate(expected)})
    assert len(set(by_class(trainer).values())) > 1


def test_classes_have_the_names_of_the_data_and_those_without_images_are_left_out() -> None:
    data = ToyData()
    data.class_names = ("left", "middle", "right")  # type: ignore[attr-defined]
    images, labels = data.validation
    data.validation = images[labels != 1], labels[labels != 1]
    trainer = toy_trainer()
    trainer.fit(classifier(), datamodule=data)
    assert set(by_class(trainer)) == {"left", "right"}


def test_many_classes_are_not_logged_one_by_one() -> None:
    model = classifier(num_classes=MOST_CLASSES + 1)
    trainer = toy_trainer()
    trainer.fit(model, datamodule=ToyData())
    assert by_class(trainer) == {}
    assert "val/acc" in trainer.callback_metrics


def test_counting_classes_changes_no_checkpoint() -> None:
    assert not any("confusion" in name for name in classifier().state_dict())
