"""A training loop that minimizes another loss than the learner follows is told so, with the loss to give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_agreement import EVERY_STEP, IMAGES, LABELS, Theirs, fit
from torch import Tensor, nn
from toys import CLASSES, OPS, ToyData, ToyNet

from influence.losses import loss_from
from lightning_modules.learner.augmenter import Augmenter
from lightning_modules.learner.loss_agreement import HeadPasses, check_loss

Function = Callable[[Tensor, Tensor], Tensor]


def one_hot(labels: Tensor) -> Tensor:
    return nn.functional.one_hot(labels, CLASSES).float()


def squared(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits - one_hot(labels)).square().sum(dim=1).mean()


def one_against_all(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, one_hot(labels))


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    chosen = (logits.log_softmax(dim=1) * one_hot(labels)).sum(dim=1)
    return -((1 - chosen.exp()).square() * chosen).mean()


def poly(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss that nobody knows by name."""
    probs = (logits.softmax(dim=1) * one_hot(labels)).sum(dim=1)
    return ((1 - probs) - 0.3 * probs.log()).mean()


class WithFunction(Theirs):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.function(self.logits(batch[0]), batch[1])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (squared, "the squared error of the logits"),
        (one_against_all, "a binary cross-entropy of each class against all"),
        (focal, "a focal loss with gamma 2"),
        (poly, "another loss of the logits than the CrossEntropy"),
    ],
)
def test_another_loss_is_refused_by_name_and_followed_once_it_is_given(
    function: Function, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        fit(WithFunction(function), tmp_path)
    callback = fit(WithFunction(function), tmp_path, loss=function)
    assert callback.last_update is not None
    assert callback.last_update.influence.isfinite().all()
    assert fit(WithFunction(function), tmp_path, checked_steps=0).last_update is not None


def test_the_loss_module_to_give_is_named(tmp_path: Path) -> None:
    weight = torch.tensor([1.0, 5.0, 0.2])
    with pytest.raises(ValueError, match=r"its CrossEntropyLoss: give loss=module\.loss"):
        fit(Theirs(weight=weight), tmp_path)
    module = Theirs(weight=weight)
    assert fit(module, tmp_path, loss=module.loss).last_update is not None


def test_terms_beside_the_logits_and_factors_do_not_matter(tmp_path: Path) -> None:
    class Regularized(Theirs):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            penalty = torch.stack([weight.square().sum() for weight in self.parameters()]).sum()
            return 0.25 * super().training_step(batch, batch_idx) + 1e-3 * penalty

    assert fit(Regularized(), tmp_path).last_update is not None


def test_a_module_that_optimizes_by_itself_is_compared_too(tmp_path: Path) -> None:
    class Manual(Theirs):
        automatic_optimization = False

        def __init__(self, function: Function) -> None:
            super().__init__()
            self.automatic_optimization, self.function = False, function

        def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.function(self.logits(batch[0]), batch[1]))
            optimizer.step()

    assert fit(Manual(nn.functional.cross_entropy), tmp_path).last_update is not None
    with pytest.raises(ValueError, match="squared error"):
        fit(Manual(squared), tmp_path)


def test_a_plain_loop_with_another_loss() -> None:
    model = ToyNet()
    for function, loss in ((focal, None), (nn.functional.cross_entropy, focal)):
        augmenter = Augmenter(model, ToyData().influence, OPS, learner=EVERY_STEP, loss=loss)
        function(model(augmenter(IMAGES[:24], LABELS[:24])), LABELS[:24]).backward()
        with pytest.raises(ValueError, match="minimizes another loss of the logits"):
            augmenter.step(IMAGES[:24], LABELS[:24])
    augmenter = Augmenter(model, ToyData().influence, OPS, learner=EVERY_STEP, loss=focal)
    for scale in (1.0, 1024.0):  # as a gradient scaler's
        (scale * focal(model(augmenter(IMAGES[:24], LABELS[:24])), LABELS[:24])).backward()
        assert augmenter.step(IMAGES[:24], LABELS[:24]) is not None
    assert not model.head._forward_hooks


def recorded(function: Function, logits: Tensor, labels: Tensor) -> HeadPasses:
    """A pass of an identity head, and the backward pass of a loss."""
    head = nn.Identity()
    passes = HeadPasses(head)
    function(head(logits.clone().requires_grad_() * 1), labels).backward()
    passes.stop()
    return passes


def test_a_head_that_is_none_of_a_classifier() -> None:
    logits, labels = torch.randn(40, 32), torch.arange(40) % 4
    passes = recorded(lambda z, y: z.square().mean(), logits, labels)
    with pytest.raises(ValueError, match="32 outputs, the labels have 4 classes"):
        check_loss(passes, loss_from(None), labels)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_smoothing_is_found_from_one_step(share: float, dtype: torch.dtype) -> None:
    logits, labels = torch.randn(64, 5).to(dtype), torch.arange(64) % 5
    passes = recorded(lambda z, y: nn.functional.cross_entropy(z.float(), y, label_smoothing=share), logits, labels)
    check_loss(passes, loss_from(None, share), labels)
    with pytest.raises(ValueError, match=rf"smooths its labels by {share:.2f}, and 0\.6 was stated"):
        check_loss(passes, loss_from(None, 0.6), labels)


def test_nothing_is_compared_without_a_gradient() -> None:
    head, labels = nn.Identity(), torch.arange(4) % 2
    passes = HeadPasses(head)
    head(torch.randn(4, 2, requires_grad=True) * 1)  # no backward pass
    check_loss(passes, loss_from(None), labels)
    check_loss(recorded(lambda z, y: z.sum() * torch.nan, torch.randn(4, 2), labels), loss_from(None), labels)
