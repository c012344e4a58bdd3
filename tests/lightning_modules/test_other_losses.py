"""A policy is learned behind whatever loss a loop trains with; a planted shift is found, and the classifier gains."""

from collections.abc import Callable
from typing import Any, NamedTuple

import kornia
import pytest
import torch
from torch import Tensor, nn
from toys import CLASSES, OPS, ToyNet, blobs

from lightning_modules.learner.augmenter import Augmenter
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.settings import LearnerSettings

SHIFT = 2.5
EVERY_STEP = LearnerSettings(interval=1, warmup=10)


class OneOutput(ToyNet):
    """Squeezes its logit, as many binary classifiers do."""

    def __init__(self) -> None:
        super().__init__(num_classes=1)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, 0]


class Task(NamedTuple):
    loss: Any
    labels: Callable[[Tensor], Tensor] = lambda labels: labels
    network: type[ToyNet] = ToyNet


def several(labels: Tensor) -> Tensor:
    """Left; right; left or in the middle."""
    return torch.stack([labels == 0, labels == 2, labels < 2], dim=1).float()


def some_left_out(labels: Tensor) -> Tensor:
    return torch.where(torch.arange(len(labels)) % 4 == 0, -100, labels)


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    value: Tensor = kornia.losses.focal_loss(logits, labels, alpha=None, gamma=2.0, reduction="mean")
    return value


def failing(logits: Tensor, labels: Tensor) -> Tensor:
    raise AssertionError("expected three views")


TASKS = {
    "smoothing": Task(nn.CrossEntropyLoss(label_smoothing=0.1)),
    "class weights": Task(nn.CrossEntropyLoss(torch.tensor([1.0, 1.5, 0.8]))),
    "left out": Task(nn.CrossEntropyLoss(), some_left_out),
    "one logit": Task(nn.BCEWithLogitsLoss(), lambda labels: (labels == 2).float(), OneOutput),
    "several labels": Task(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 2.0, 1.0])), several),
    "focal": Task(focal),
    "sum": Task(nn.CrossEntropyLoss(reduction="sum")),
}


def train(task: Task, learn: bool, seed: int = 0) -> tuple[Augmenter, float]:
    """The augmenter after 120 steps, and the loss on shifted images."""
    torch.manual_seed(seed)
    model = task.network()
    (images, labels), (held, held_labels), (tested, tested_labels) = (
        blobs(240, 0, 0),
        blobs(60, SHIFT, 1),
        blobs(300, SHIFT, 2),
    )
    learned = Augmenter(
        model,
        (held, task.labels(held_labels)),
        OPS,
        loss=task.loss,
        learner=EVERY_STEP,
        control="none" if learn else "plain",
    )
    reduced = getattr(task.loss, "reduction", "") == "sum"
    rate = 0.05 / 60 if reduced else 0.05
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    for step in range(120):
        chosen = torch.arange(60) + 60 * (step % 4)
        batch, targets = images[chosen], task.labels(labels)[chosen]
        loss = task.loss(model(learned(batch, targets)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learned.step(batch, targets)
    with torch.no_grad():
        found = model.eval()(tested)
    return learned, float(task.loss(found, task.labels(tested_labels))) / len(tested if reduced else [0])


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_planted_shift_is_found_and_helps(name: str) -> None:
    losses = []
    for seed in range(2):
        learned, loss = train(TASKS[name], learn=True, seed=seed)
        assert learned.policy is not None
        found = learned.policy.describe()
        assert found["translate_y"]["half_width"] > 2 * found["translate_x"]["half_width"]
        assert found["translate_y"]["half_width"] > 0.1
        losses.append((loss, train(TASKS[name], learn=False, seed=seed)[1]))
    assert sum(with_policy for with_policy, _ in losses) < 0.9 * sum(plain for _, plain in losses)


def test_labels_that_a_policy_cannot_take() -> None:
    images, labels = blobs(24, 0, 0)
    arguments: dict[str, Any] = {"loss": nn.BCEWithLogitsLoss(), "learner": EVERY_STEP}
    by_class = Augmenter(ToyNet(), (images, several(labels)), OPS, "class_conditional", **arguments)
    with pytest.raises(ValueError, match="depends on the class of an image, expected class numbers"):
        by_class(images, several(labels))
    one = Augmenter(OneOutput(), (images, (labels == 1).float()), {"mixup": 0.5}, **arguments)
    with pytest.raises(ValueError, match=r"give float labels as \[B, K\]"):
        one(images, (labels == 1).float())
    mixed = Augmenter(ToyNet(), (images, labels), {"mixup": 0.5}, loss=nn.CrossEntropyLoss(), learner=EVERY_STEP)
    with pytest.raises(ValueError, match="a label that the loss leaves out cannot be"):
        mixed(images, some_left_out(labels))


def test_several_labels_are_mixed_with_their_images() -> None:
    images, labels = blobs(24, 0, 0)
    learned = Augmenter(
        ToyNet(),
        (images, several(labels)),
        {"mixup": 0.5},
        initial_range=1.0,
        loss=nn.BCEWithLogitsLoss(),
        learner=EVERY_STEP,
    )
    mixed, targets = learned(images, several(labels))
    assert targets.shape == (24, CLASSES)
    assert not torch.equal(targets, several(labels))
    assert bool(((targets >= 0) & (targets <= 1)).all())
    assert not torch.equal(mixed, images)


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (None, lambda labels: several(labels), "rows of probabilities"),
        (None, lambda labels: labels.float(), "int64 class numbers"),
        (None, lambda labels: some_left_out(labels), "number the classes from 0"),
        (nn.BCEWithLogitsLoss(), lambda labels: labels, "class numbers .* belong to cross-entropy"),
        (nn.CrossEntropyLoss(ignore_index=0), lambda labels: labels - 1, "number the classes from 0"),
        (
            nn.CrossEntropyLoss(),
            lambda labels: torch.full_like(labels, -100),
            "all labels of the influence set are -100",
        ),
        (nn.CrossEntropyLoss(torch.ones(4)), lambda labels: labels, "expected 3 class weights"),
        (nn.MultiMarginLoss(), lambda labels: labels, "MultiMarginLoss cannot be differentiated twice"),
        (failing, lambda labels: labels, "failing cannot take logits .* three views"),
    ],
)
def test_an_influence_set_whose_labels_the_loss_cannot_take(
    loss: Any, labels: Callable[[Tensor], Tensor], message: str
) -> None:
    images, classes = blobs(24, 0, 0)
    with pytest.raises(ValueError, match=message):
        Augmenter(ToyNet(), (images, labels(classes)), OPS, loss=loss)


def test_missing_labels_of_an_influence_set_are_said() -> None:
    images, labels = blobs(24, 0, 0)
    only = several(labels) * torch.tensor([1.0, 0.0, 1.0])
    with pytest.warns(UserWarning, match=r"no image of 1 of 3 classes \(1\)"):
        Augmenter(ToyNet(), (images, only), OPS, loss=nn.BCEWithLogitsLoss())


def test_the_guard_watches_the_labels_that_are_found() -> None:
    """Absent labels stay right where an image shows nothing any more: they must not hide that."""
    images, labels = blobs(60, 0, 0)
    torch.manual_seed(0)
    learned = Augmenter(
        ToyNet(),
        (images, several(labels)),
        {"brightness": 0.4},
        loss=nn.BCEWithLogitsLoss(),
        learner=LearnerSettings(interval=1, warmup=0),
        guard=GuardSettings(min_retention=0.5),
        checked_steps=0,
    )
    assert learned.learner is not None
    update = learned.learner.update(images, several(labels))
    assert 0 <= update.retention <= 1.5
