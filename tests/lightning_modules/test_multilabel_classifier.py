import csv
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from toys import SIDE, ToyData, toy_classifier, toy_trainer

from augnet import AugNet, ClassConditionalPolicy, TransformSpace, save_policy
from lightning_modules.classifier import Classifier
from lightning_modules.classifier.label_kinds import MOST_CLASSES, SeveralLabels
from lightning_modules.commands.predictions import write_predictions
from lightning_modules.learner.sample_weights import SampleSettings

CLASSES = 4


def random_sets(count: int, seed: int = 0, classes: int = CLASSES) -> Tensor:
    return (torch.rand(count, classes, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


class Sets(ToyData):
    """Noise, whose brightness in each quarter of the image says which labels it has."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.training, self.influence, self.validation = (self.noise(96, seed, classes) for seed in range(3))

    def noise(self, count: int, seed: int, classes: int) -> tuple[Tensor, Tensor]:
        labels = random_sets(count, seed, classes)
        quarters = labels[:, :4].reshape(count, 1, 2, 2).repeat_interleave(SIDE // 2, 2).repeat_interleave(SIDE // 2, 3)
        generator = torch.Generator().manual_seed(seed)
        return 0.5 * quarters + 0.5 * torch.rand(count, 1, SIDE, SIDE, generator=generator), labels


def classifier(**arguments: Any) -> Classifier:
    torch.manual_seed(0)
    settings = {"model": "toys.ToyNet", "num_classes": CLASSES, "in_channels": 1, "multilabel": True}
    return Classifier(**{**settings, **arguments})


def test_loss_and_metrics_are_those_of_the_whole_split() -> None:
    model, data = classifier(), Sets()
    trainer = toy_trainer(max_epochs=3, num_sanity_val_steps=2)
    trainer.fit(model, datamodule=data)
    validated = {key: float(value) for key, value in trainer.callback_metrics.items()}
    found = trainer.test(model, datamodule=data, verbose=False)[0]
    images, labels = data.validation
    logits = model.eval()(images).detach()
    expected = {
        "loss": float(nn.functional.binary_cross_entropy_with_logits(logits, labels)),
        "acc": float(((logits > 0) == labels.bool()).float().mean()),
        "map": float(average_precision_score(labels.numpy(), logits.numpy(), average="macro")),
    }
    assert found == pytest.approx({f"test/{key}": value for key, value in expected.items()}, abs=1e-5)
    assert {key: validated[f"val/{key}"] for key in expected} == pytest.approx(expected, abs=1e-5)
    of_classes = {key: value for key, value in validated.items() if key.startswith("val/ap/")}
    each = average_precision_score(labels.numpy(), logits.numpy(), average=None)
    assert of_classes == pytest.approx({f"val/ap/{label}": value for label, value in enumerate(each)}, abs=1e-5)
    assert not any(key.startswith("val/acc/") for key in validated)
    predicted = cast(list[Tensor], trainer.predict(model, data.test_dataloader()))
    torch.testing.assert_close(torch.cat(predicted), logits.sigmoid())


def test_training_lowers_the_binary_cross_entropy() -> None:
    model, data = classifier(lr_schedule="constant"), Sets()
    trainer = toy_trainer(max_epochs=15, limit_val_batches=0)
    trainer.fit(model, datamodule=data)
    accuracy = toy_trainer().validate(model, datamodule=data, verbose=False)[0]
    assert accuracy["val/map"] > 0.95
    assert accuracy["val/acc"] > 0.9


def test_logits_between_0_and_1_are_not_taken_for_probabilities() -> None:
    kind, labels = SeveralLabels(3), torch.ones(1, 3)
    logits = torch.tensor([[0.2, 0.3, 0.9]])  # all of a probability above 1/2
    accuracy = kind.update("val", logits, labels)["val/acc"]
    assert float(accuracy.compute()) == 1


def test_a_class_without_images_is_left_out_of_the_mean() -> None:
    kind, labels, logits = SeveralLabels(3), random_sets(50, classes=3), torch.randn(50, 3)
    labels[:, 1] = 0
    kind.update("val", logits, labels)
    found = kind.compute("val", ["a", "b", "c"])
    kept = [0, 2]
    each = average_precision_score(labels[:, kept].numpy(), logits[:, kept].numpy(), average=None)
    assert found == pytest.approx({"val/map": each.mean(), "val/ap/a": each[0], "val/ap/c": each[1]}, abs=1e-5)
    kind.update("val", logits, torch.zeros(50, 3))
    assert kind.compute("val", ["a", "b", "c"]) == {}


def test_many_classes_are_not_logged_one_by_one() -> None:
    kind = SeveralLabels(MOST_CLASSES + 1)
    labels = random_sets(60, classes=MOST_CLASSES + 1)
    kind.update("val", torch.randn(60, MOST_CLASSES + 1), labels)
    assert set(kind.compute("val", range(MOST_CLASSES + 1))) == {"val/map"}


def test_mixed_labels_count_by_the_larger_share() -> None:
    kind = SeveralLabels(2)
    accuracy = kind.update("train", torch.tensor([[3.0, -3.0]]), torch.tensor([[0.7, 0.3]]))["train/acc"]
    assert float(accuracy.compute()) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda labels: labels.argmax(dim=1), r"labels must be float32 \[B, 4\].*found torch.int64 of shape \(24,\)"),
        (lambda labels: labels[:, :3], r"labels must be float32 \[B, 4\]"),
        (lambda labels: labels.long(), r"labels must be float32 \[B, 4\]"),
        (lambda labels: labels - 1, "labels of several classes must be 0 or 1"),
        (lambda labels: labels * 0.9, "labels of several classes must be 0 or 1"),
    ],
)
def test_wrong_labels_raise_before_a_step_is_taken(spoil: Any, message: str) -> None:
    model, data = classifier(), Sets()
    data.training = data.training[0], spoil(data.training[1])
    with pytest.raises(ValueError, match=message):
        toy_trainer(num_sanity_val_steps=0).fit(model, datamodule=data)


def test_labels_of_several_classes_need_the_setting() -> None:
    with pytest.raises(ValueError, match="several for an image: give the classifier multilabel=True"):
        toy_trainer(num_sanity_val_steps=0).fit(classifier(multilabel=False), datamodule=Sets())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": 0.1}, "label_smoothing is for one label an image, found 0.1"),
        ({"distinctive": "cosine"}, "distinctive is for one label an image, found cosine"),
        ({"samples": SampleSettings(weights=True)}, "samples: weights and soft labels are learned for one label"),
        ({"samples": SampleSettings(soft_labels=True)}, "samples: weights and soft labels are learned for one label"),
        ({"policy": "class_conditional"}, "this policy depends on the one label of an image"),
    ],
)
def test_what_needs_one_label_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy_classifier(num_classes=CLASSES, multilabel=True, **arguments)


def test_a_policy_file_of_classes_is_refused(tmp_path: Path) -> None:
    space = TransformSpace(["rotation"])
    save_policy(AugNet(space, ClassConditionalPolicy(space, CLASSES)), tmp_path / "policy.json")
    with pytest.raises(ValueError, match="this policy depends on the one label of an image"):
        toy_classifier(num_classes=CLASSES, multilabel=True, policy_file=str(tmp_path / "policy.json"))


@pytest.mark.parametrize("base_policy", ["mixup", "cutmix"])
def test_images_are_mixed_with_all_their_labels(base_policy: str) -> None:
    model = toy_classifier(num_classes=CLASSES, multilabel=True, base_policy=base_policy, control="plain").train()
    images = torch.zeros(8, 1, SIDE, SIDE)
    images[::2] = 1
    labels = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 0]]).repeat(4, 1)
    mixed, targets = model.augment(images, labels)
    share = mixed.mean(dim=(1, 2, 3))  # of bright images, which have the first label; dark ones have the third
    torch.testing.assert_close(targets, torch.stack([share, torch.ones(8), 1 - share, torch.zeros(8)], dim=1))
    assert ((share > 0) & (share < 1)).any()
    toy_trainer(limit_val_batches=0).fit(model, datamodule=Sets())


def test_predicted_classes_are_all_above_one_half(tmp_path: Path) -> None:
    probabilities = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.3, 0.5], [0.1, 0.2, 0.8]])
    write_predictions(tmp_path / "p.csv", probabilities, ["a", "b", "c"], ["x", "y", "z"], multilabel=True)
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [row["predicted"] for row in rows] == ["a|b", "", "c"]
    assert np.allclose([[float(row[name]) for name in "abc"] for row in rows], probabilities)
