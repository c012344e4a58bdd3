"""The paper's schedule: a trained classifier, one solve, a policy learned against it."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from learner_cases import BATCH, make, network
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor
from toys import ToyData, blobs, toy_classifier, toy_trainer

from augnet.baselines import FlipCrop
from influence import LastLayerHessian, loss_gradient
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.policy_learner import PolicyUpdate
from lightning_modules.learner.settings import LearnerSettings
from lightning_modules.learner.staged import StagedSettings, _pretrain, learn_staged


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    for seed in range(4):
        yield blobs(12, 0, seed)


def staged(learner: Any, steps: int, **settings: Any) -> list[PolicyUpdate]:
    seen: list[PolicyUpdate] = []
    learn_staged(learner, batches, StagedSettings(steps=steps, **settings), lambda _, update: seen.append(update))
    return seen


def test_one_solve_from_unaugmented_images_that_autograd_confirms() -> None:
    learner = make(double=True, refresh=0, hessian_rows=48, damping=0.05, tol=1e-10, max_iterations=2000)
    double = [(images.double(), labels) for images, labels in batches()]
    solution = learner.solve_once(iter(double))
    model = copy.deepcopy(network(learner)).eval()
    capture = FeatureCapture(model, model.head)
    with torch.no_grad():
        rows = capture(torch.cat([images for images, _ in double]))
        held_out = capture(learner.influence.influence_set[0])
    gradient = loss_gradient(*held_out, learner.influence.influence_set[1])
    hessian = LastLayerHessian(*rows, damping=0.05)
    expected = torch.linalg.solve(hessian.dense(), gradient.flatten()).view_as(gradient)
    torch.testing.assert_close(solution.value, expected, rtol=1e-6, atol=1e-9)


def test_the_solution_stays_and_the_classifier_stays() -> None:
    learner = make(refresh=0, lr=0.1)
    before = copy.deepcopy(network(learner).state_dict())
    updates = staged(learner, 12)
    assert len(updates) == 12
    first = updates[0].solution.value
    assert all(torch.equal(update.solution.value, first) for update in updates)
    assert all(torch.equal(value, before[name]) for name, value in network(learner).state_dict().items())
    assert len(learner.influence.bank) == 48  # nothing augmented was added


def test_the_policy_ends_at_its_average() -> None:
    learner = make(refresh=0, lr=0.1)
    start = learner.augnet.policy.theta.clone()
    staged(learner, 5)
    assert learner.finished
    assert torch.equal(learner.augnet.policy.theta, learner.result.policy.theta)
    assert not torch.equal(learner.augnet.policy.theta, start)


def test_warm_up_and_cosine() -> None:
    learner = make(refresh=0, lr=0.1)
    rates: list[float] = []
    settings = StagedSettings(steps=20)
    learn_staged(learner, batches, settings, lambda *_: rates.append(learner.optimizer.param_groups[0]["lr"]))
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 1  # after a tenth of the steps
    assert rates[-1] == pytest.approx(0.01)
    assert all(later < earlier for earlier, later in pairwise(rates[1:]))


def test_batches_begin_anew_when_they_run_out() -> None:
    assert len(staged(make(refresh=0), 9)) == 9  # of four batches


def test_a_diverged_classifier_is_said() -> None:
    learner = make(refresh=0)
    network(learner).head.bias.data.fill_(torch.inf)
    with pytest.raises(ValueError, match=r"features and logits|the classifier diverged"):
        staged(learner, 2)


def test_pretraining_moves_the_decoder_alone_and_the_same_on_every_run() -> None:
    states = []
    for _ in range(2):
        learner = make(policy="field", refresh=0, base=FlipCrop())
        before = copy.deepcopy(learner.augnet.policy.state_dict())
        _pretrain(learner, batches, 3)
        states.append(copy.deepcopy(learner.augnet.policy.state_dict()))
        moved = {name for name, value in states[-1].items() if not torch.equal(value, before[name])}
        assert moved
        assert all(name.startswith("decoder.") for name in moved)
        assert not any(parameter.requires_grad for parameter in learner.augnet.parameters())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, r"staged\.steps must lie in .*found 0"),
        ({"pretrain": -1}, r"staged\.pretrain must lie in .*found -1"),
    ],
)
def test_settings_that_make_no_sense(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StagedSettings(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"staged": StagedSettings(pretrain=3)}, "staged.pretrain is for policy field, found range"),
        (
            {"staged": StagedSettings(pretrain=3), "policy": "field", "image_size": (12, 12)},
            "staged.pretrain teaches a field network what the base policy makes: set base_policy",
        ),
        ({"schedule": "stagde"}, "schedule must be one of joint, staged, found 'stagde'"),
        ({"policy_probability": 1.5}, r"policy_probability must lie in \(0, 1\], found 1.5"),
        ({"policy_probability": 0.0}, "found 0.0: control plain has no policy"),
    ],
)
def test_modules_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy_classifier(**{"schedule": "staged", **arguments})


# In a training


def test_the_classifier_trains_as_plain_does_until_the_policy_is_learned() -> None:
    trained = []
    for arguments in ({"schedule": "staged", "staged": StagedSettings(steps=4)}, {"control": "plain"}):
        module = toy_classifier(**arguments)
        toy_trainer(max_epochs=2).fit(module, ToyData())
        trained.append(module)
    plain, learned = trained[1].network.state_dict(), trained[0].network.state_dict()
    assert all(torch.equal(value, learned[name]) for name, value in plain.items())
    assert trained[0].learner is not None
    assert trained[0].learner.updates == 4
    assert trained[0].learner.finished
    assert trained[0].learned_augmentation.staged_strengths.keys() == {9, 10, 11, 12}
    assert trained[0].learned_augmentation.last_update is not None


def test_a_field_network_is_pretrained_and_learned() -> None:
    settings = StagedSettings(steps=2, pretrain=2)
    module = toy_classifier(
        schedule="staged", staged=settings, policy="field", image_size=(12, 12), base_policy="flip_crop"
    )
    toy_trainer().fit(module, ToyData())
    update = module.learned_augmentation.last_update
    assert update is not None
    assert update.influence.isfinite().all()


def test_a_share_of_the_images_passes_the_policy() -> None:
    images, labels = BATCH[0].repeat(50, 1, 1, 1), BATCH[1].repeat(50)
    changed = {}
    for share in (1e-9, 0.3, 1.0):
        module = toy_classifier(policy_probability=share, initial_range=0.9)
        augmented, _ = module.augment(images, labels)
        changed[share] = float((augmented != images).flatten(1).any(dim=1).float().mean())
    assert changed == {1e-9: 0, 0.3: pytest.approx(0.3, abs=0.06), 1.0: 1}


def test_mixed_labels_go_with_their_images() -> None:
    module = toy_classifier(policy_probability=0.5, ops={"mixup": 0.5}, initial_range=1.0)
    images, labels = BATCH[0].repeat(20, 1, 1, 1), BATCH[1].repeat(20)
    augmented, targets = module.augment(images, labels)
    changed = (augmented != images).flatten(1).any(dim=1)
    hard = targets.max(dim=1).values == 1
    assert targets.shape == (len(labels), 3)
    assert 0 < int(changed.sum()) < len(labels)
    assert bool((~changed <= hard).all())  # an image that is as it was has its own label


# Until a share of the run


def test_learning_ends_at_a_share_of_the_run() -> None:
    module = toy_classifier()
    callback = module.learned_augmentation
    callback.settings = replace(callback.settings, until=0.5)
    toy_trainer(max_epochs=4).fit(module, ToyData())  # 16 steps
    assert module.learner is not None
    assert module.learner.updates == 8
    assert torch.equal(module.augnet.policy.theta, module.learned.policy.theta)  # type: ignore[union-attr]


def test_a_share_of_a_run_without_an_end_is_refused() -> None:
    module = toy_classifier(learner=LearnerSettings(until=0.5), lr_schedule="constant")
    with pytest.raises(ValueError, match=r"learner.until=0.5 is a share of the run, whose length is not known"):
        toy_trainer(max_epochs=-1).fit(module, ToyData())


def test_callbacks_of_the_user_stay() -> None:
    """Lightning lets those of the module take the place of others of the same kind."""
    seen: list[int] = []
    callback = LambdaCallback(on_train_batch_end=lambda trainer, *_: seen.append(trainer.global_step))
    module = toy_classifier()
    toy_trainer(callbacks=[callback]).fit(module, ToyData())
    assert seen == [1, 2, 3, 4]
    assert module.learner is not None
    assert module.learner.updates == 4
