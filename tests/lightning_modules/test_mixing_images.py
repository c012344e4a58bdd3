"""Mixup and CutMix, learned and in front: the labels follow, and their gradient counts."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from learner_cases import BATCH, influence_by_double_backward, make, oracle_network
from torch import Tensor, nn
from toys import CLASSES, ToyData, blobs, toy_classifier, toy_trainer

from augnet.baselines import CutMix, Mixup
from influence.losses import CrossEntropy
from lightning_modules.learner.targets import apply_base, as_classes, as_probabilities, smoothed

MIXING = {"mixup": 0.5, "cutmix": 0.5, "translate_x": 0.3}


def test_gradient_is_that_through_images_and_labels() -> None:
    """Held to a double backward whose loss takes the mixed labels; without these it would be another gradient."""
    learner = make(ops=MIXING, double=True, clip=1e9)
    learner.influence.loss = CrossEntropy(label_smoothing=0.1)
    images, labels = BATCH[0].double(), BATCH[1]
    learner.update(images, labels)
    oracle = copy.deepcopy(learner.augnet).train().requires_grad_(True)
    generator = torch.Generator()
    generator.set_state(learner.generator.get_state())
    update = learner.update(images, labels)
    gradient = learner.augnet.policy.theta.grad
    augmented, targets = oracle(images, as_probabilities(labels, CLASSES).double(), generator=generator)
    targets = 0.9 * targets + 0.1 / CLASSES
    model = oracle_network(learner)
    influence = influence_by_double_backward(model, augmented, targets, update.solution.value)
    # mixed labels are float32
    torch.testing.assert_close(update.influence, influence.detach(), rtol=1e-6, atol=1e-7)
    scale = influence.detach().square().mean().sqrt()
    (expected,) = torch.autograd.grad((influence / scale).mean(), oracle.policy.theta, retain_graph=True)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)
    through_images = influence_by_double_backward(model, augmented, targets.detach(), update.solution.value)
    (partial,) = torch.autograd.grad((through_images / scale).mean(), oracle.policy.theta)
    mixing = [learner.augnet.space.names.index(name) for name in ("mixup", "cutmix")]
    assert ((expected - partial)[mixing].abs() > 1e-4).all()


@pytest.mark.parametrize("policy", ["ranges", "mixture", "class_conditional"])
@pytest.mark.parametrize("base", [None, Mixup(), CutMix()])
def test_every_policy_learns_behind_and_among_mixing(policy: Any, base: Any) -> None:
    learner = make(policy=policy, ops=MIXING, base=base)
    before = {name: value.clone() for name, value in learner.augnet.policy.named_parameters()}
    for _ in range(3):
        assert learner.update(*BATCH).influence.isfinite().all()
    assert any(not torch.equal(before[name], value) for name, value in learner.augnet.policy.named_parameters())
    targets = learner.influence.bank.rows().targets
    assert ((targets > 0.01) & (targets < 0.99)).any()


@pytest.mark.parametrize("arguments", [{"ops": MIXING}, {"base_policy": "mixup"}, {"base_policy": "crop+cutmix"}])
def test_the_classifier_is_trained_on_the_mixed_labels(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = toy_classifier(initial_range=0.9, **{"ops": ["translate_x"], **arguments})
    seen: list[Tensor] = []
    loss = nn.CrossEntropyLoss.forward

    def watched(self: nn.CrossEntropyLoss, logits: Tensor, targets: Tensor) -> Tensor:
        seen.append(targets)
        return loss(self, logits, targets)

    monkeypatch.setattr(nn.CrossEntropyLoss, "forward", watched)
    toy_trainer(default_root_dir=tmp_path, limit_val_batches=0).fit(module, ToyData())
    assert all(targets.shape == (24, CLASSES) for targets in seen)
    assert all((targets.amax(dim=1) < 0.999).any() for targets in seen)
    torch.testing.assert_close(seen[0].sum(dim=1), torch.ones(24))


def test_labels_behind_a_mixing_policy_share_the_images() -> None:
    images = as_probabilities(torch.arange(12) % CLASSES, CLASSES)[:, :, None, None].expand(-1, -1, 4, 4).contiguous()
    mixed, targets = apply_base(Mixup().train(), images, torch.arange(12) % CLASSES, CLASSES)
    torch.testing.assert_close(mixed[:, :, 0, 0], targets)  # the colour of an image is its label
    same, labels = apply_base(None, *blobs(6, 0, 0), CLASSES)
    assert torch.equal(same, blobs(6, 0, 0)[0])
    assert labels.dtype == torch.long


def test_forms_of_labels() -> None:
    labels = torch.tensor([2, 0])
    hot = as_probabilities(labels, 3)
    assert torch.equal(as_classes(hot), labels)
    assert torch.equal(as_classes(labels), labels)
    assert torch.equal(as_probabilities(hot, 3), hot)
    assert torch.equal(smoothed(labels, torch.zeros(2, 3), 0.3), smoothed(hot, torch.zeros(2, 3), 0.3))
