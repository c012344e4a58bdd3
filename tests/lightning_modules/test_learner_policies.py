"""Policies other than ranges in the learner."""

import copy
import io

import pytest
import torch
from learner_cases import (
    BATCH,
    influence_by_double_backward,
    make,
    oracle_network,
    train_with,
)
from torch import Tensor
from toys import OPS, blobs

from augnet import AugNet, MixturePolicy, TransformSpace
from augnet.batch import Batch
from lightning_modules.learner.feature_capture import frozen
from lightning_modules.learner.policy_choice import PolicyName
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.settings import InfluenceControl, LearnerSettings


def gradients(learner: PolicyLearner) -> list[Tensor]:
    """The gradient of each parameter that the latest update handed to the optimiser."""
    found = [parameter.grad for parameter in learner.augnet.parameters()]
    return [gradient.clone() for gradient in found if gradient is not None]


def test_a_mixture_costs_no_backward_pass() -> None:
    learner = make(policy="mixture")
    seen: list[bool] = []
    learner.capture.head.register_forward_hook(lambda module, args, output: seen.append(output.requires_grad))
    learner.update(*BATCH)
    assert seen
    assert not any(seen)
    assert all(gradient.abs().max() > 0 for gradient in gradients(learner))


@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_score_function_gradient_is_that_of_the_formula(kl: float) -> None:
    """`mean_i (c_i - mean of the others) log p_i + kl KL`, the cost being the bounded influence of the draw."""
    learner = make(policy="mixture", double=True, kl=kl, clip=0.7)
    with torch.no_grad():
        for parameter in learner.augnet.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    images, labels = BATCH[0].double(), BATCH[1]
    generator = torch.Generator()
    generator.set_state(learner.generator.get_state())
    oracle = copy.deepcopy(learner.augnet.policy).requires_grad_(True)
    numbers, noise = copy.deepcopy(learner.augnet).draw(images, generator)
    magnitudes, choices = oracle.choose(images, numbers)
    augmented = learner.augnet.space.apply_to(Batch(images), magnitudes.detach(), noise).images

    update = learner.update(images, labels)

    model = oracle_network(learner)
    influence = influence_by_double_backward(model, augmented, labels, update.solution.value).detach()
    torch.testing.assert_close(update.influence, influence, rtol=1e-8, atol=1e-12)
    cost = 0.7 * torch.tanh(influence / influence.square().mean().sqrt() / 0.7)
    others = (cost.sum() - cost) / (len(cost) - 1)
    log_probs = torch.stack([oracle.probabilities().flatten()[row].log().sum() for row in choices])
    flat = oracle.probabilities()
    divergence = (flat * (flat / oracle.prior()).log()).sum()
    value = ((cost - others) * log_probs).mean() + kl * divergence
    for mine, theirs in zip(gradients(learner), torch.autograd.grad(value, list(oracle.parameters())), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-12)
        assert theirs.abs().max() > 1e-3


@pytest.mark.parametrize("policy", ["intervals", "mixture", "conditional", "class_conditional", "field"])
def test_flipped_is_the_opposite_for_every_policy(policy: PolicyName) -> None:
    first, second = (make(c, policy=policy, kl=0.0) for c in ("none", "flipped"))
    first.update(*BATCH)
    second.update(*BATCH)
    assert any(gradient.abs().max() > 0 for gradient in gradients(first))
    for mine, theirs in zip(gradients(first), gradients(second), strict=True):
        torch.testing.assert_close(mine, -theirs, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("corruption", ["none", "shuffled", "identity_hessian"])
@pytest.mark.parametrize("policy", ["intervals", "mixture", "conditional", "class_conditional", "field"])
def test_state_of_every_policy_goes_through_a_file(policy: PolicyName, corruption: InfluenceControl) -> None:
    learner, resumed = make(corruption, policy=policy), make(corruption, policy=policy)
    before = copy.deepcopy(learner.augnet.state_dict())
    learner.update(*BATCH)
    assert any(not torch.equal(value, before[name]) for name, value in learner.augnet.state_dict().items())
    file = io.BytesIO()
    torch.save([learner.state_dict(), learner.augnet.state_dict()], file)
    file.seek(0)
    state, weights = torch.load(file, weights_only=True)
    resumed.load_state_dict(state)
    resumed.augnet.load_state_dict(weights)
    for each in (learner, resumed):
        each.update(*BATCH)
    for name, value in learner.augnet.state_dict().items():
        assert torch.equal(resumed.augnet.state_dict()[name], value), name


def probabilities(corruption: InfluenceControl, seed: int) -> dict[str, float]:
    """Train classifier and mixture together; the probabilities at the end, 1/3 each at the start."""
    space = TransformSpace(OPS)
    net = AugNet(space, MixturePolicy.over(space)).requires_grad_(False)
    train_with(net, corruption, seed, 120)
    return net.policy.shares(space)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_shift_is_kept_by_a_mixture_and_the_other_dropped(seed: int) -> None:
    """Blobs move up and down at deployment; moving them sideways changes their class."""
    found = probabilities("none", seed)
    assert found["translate_y"] > 1 / 3
    assert found["translate_x"] < 0.1
    flipped = probabilities("flipped", seed)
    assert flipped["translate_x"] > 0.8


@pytest.mark.parametrize("corruption", ["none", "flipped"])
def test_where_all_images_share_a_range_the_gradient_is_that_of_the_range(corruption: InfluenceControl) -> None:
    """At the start: the sum over the classes, and that of the encoder's bias, are the gradient of plain ranges."""
    found = {}
    for policy in ("ranges", "class_conditional", "conditional"):
        learner = make(corruption, policy=policy, double=True)
        learner.update(BATCH[0].double(), BATCH[1])
        found[policy] = learner.augnet.policy
    expected = found["ranges"].theta.grad
    assert expected.abs().min() > 1e-6
    table = found["class_conditional"].theta.grad
    assert table.abs().amax(dim=1).min() > 0
    torch.testing.assert_close(table.sum(dim=0), expected, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found["conditional"].encoder.head.bias.grad[:3], expected, rtol=1e-6, atol=1e-12)


def test_the_weights_of_an_encoder_move_a_fiftieth_as_far_as_its_logits() -> None:
    learner = make(policy="conditional", lr=0.05)
    before = copy.deepcopy(dict(learner.augnet.policy.named_parameters()))
    for _ in range(2):  # the body has no gradient before the head has moved
        learner.update(*BATCH)
    moved = {name: (new - before[name]).abs().max() for name, new in learner.augnet.policy.named_parameters()}
    assert 0.02 < moved.pop("encoder.head.bias") <= 0.1001
    assert all(1e-4 < move < 2.1e-3 for move in moved.values())


def test_all_of_a_field_network_moves_a_fiftieth_of_the_learning_rate() -> None:
    learner = make(policy="field", lr=0.05)
    before = copy.deepcopy(dict(learner.augnet.named_parameters()))
    learner.update(*BATCH)
    for name, new in learner.augnet.named_parameters():
        assert 5e-4 < (new - before[name]).abs().max() < 1.01e-3, name  # the first step of Adam is its rate


@pytest.mark.parametrize("corruption", ["none", "flipped"])
def test_the_gradient_of_a_field_network_is_that_of_the_formula(corruption: InfluenceControl) -> None:
    """`mean_i clip tanh(I_i / (clip rms))` differentiated through the images; dropout from the learner's generator."""
    learner = make(corruption, policy="field", double=True, clip=0.7)
    images, labels = BATCH[0].double().clamp(0.2, 0.8), BATCH[1]
    oracle, generator = copy.deepcopy(learner.augnet).requires_grad_(True), torch.Generator()
    generator.set_state(learner.generator.get_state())
    state = torch.get_rng_state()

    update = learner.update(images, labels)

    assert torch.equal(torch.get_rng_state(), state)
    codes = oracle.policy.encoder(images)
    codes = 2 * codes * (torch.rand(codes.shape, generator=generator) >= 0.5)
    augmented = oracle.space.apply(images, oracle.policy.decoder(codes))
    assert (augmented - images).abs().max() > 1e-6
    influence = influence_by_double_backward(oracle_network(learner), augmented, labels, update.solution.value)
    torch.testing.assert_close(update.influence, influence.detach(), rtol=1e-8, atol=1e-12)
    size = influence.detach().square().mean().sqrt()
    value = (0.7 * torch.tanh(influence / size / 0.7)).mean() * (-1 if corruption == "flipped" else 1)
    expected = torch.autograd.grad(value, list(oracle.parameters()))
    for mine, theirs in zip(gradients(learner), expected, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("policy", ["ranges", "intervals", "mixture", "conditional", "class_conditional", "field"])
def test_the_default_settings_are_for_every_policy(policy: PolicyName) -> None:
    learner = make(policy=policy, sparsity=LearnerSettings().sparsity, radius=LearnerSettings().radius)
    before = copy.deepcopy(learner.augnet.policy.state_dict())
    learner.update(*BATCH)
    assert any(not torch.equal(before[name], value) for name, value in learner.augnet.policy.state_dict().items())


@pytest.mark.parametrize("corruption", ["none", "flipped"])
@pytest.mark.parametrize("policy", ["ranges", "class_conditional"])
def test_every_range_pays_for_its_share_of_its_bound(policy: PolicyName, corruption: InfluenceControl) -> None:
    found = []
    for sparsity in (0.0, 0.5):
        learner = make(corruption, policy=policy, double=True, sparsity=sparsity)
        theta = learner.augnet.policy.theta
        share = torch.sigmoid(theta.detach())
        learner.update(BATCH[0].double(), BATCH[1])
        assert theta.grad is not None
        found.append(theta.grad.clone())
    count = 1 if share.ndim == 1 else len(share)
    torch.testing.assert_close(found[1] - found[0], 0.5 * share * (1 - share) / count)


@pytest.mark.slow
def test_a_range_that_brings_nothing_shrinks_and_the_planted_one_stays() -> None:
    """Deployment moves the blobs up and down; how bright they are makes no difference to either."""
    ends = {}
    for sparsity in (0.0, 0.05):
        augnet = AugNet.from_ops({**OPS, "brightness": 0.1}, 0.3).requires_grad_(False)
        train_with(augnet, "none", 0, 120, sparsity=sparsity)
        ends[sparsity] = augnet.policy.shares(augnet.space)
    assert ends[0.05]["brightness"] < 0.2 * ends[0.0]["brightness"]
    assert ends[0.05]["translate_y"] > 0.2


@pytest.mark.parametrize("policy", ["ranges", "intervals", "class_conditional"])
def test_a_probed_range_closes_to_a_hundredth_of_its_bound(policy: PolicyName) -> None:
    """A cost of ten per range closes them all."""
    lowest = {}
    for probe in (0.0, 0.2):
        learner = make(policy=policy, sparsity=10.0, probe=probe, lr=0.5)
        for _ in range(16):
            learner.update(*BATCH)
        lowest[probe] = float(torch.sigmoid(learner.augnet.policy.theta).min())
    assert lowest[0.0] < 0.005
    assert lowest[0.2] == pytest.approx(0.01, rel=1e-5)


@pytest.mark.parametrize("policy", ["ranges", "intervals", "class_conditional"])
def test_a_nearly_closed_range_is_judged_as_wide_as_the_probe(policy: PolicyName) -> None:
    """Its gradient is that of a policy whose ranges are at the probe, up to the slope of the sigmoid."""
    slopes = {}
    for initial, probe in ((0.02, 0.0), (0.02, 0.25), (0.25, 0.0)):
        learner = make(policy=policy, double=True, initial=initial, probe=probe)
        learner.update(BATCH[0].double(), BATCH[1])
        (gradient,) = gradients(learner)
        slopes[initial, probe] = gradient / (initial * (1 - initial))
    torch.testing.assert_close(slopes[0.02, 0.25], slopes[0.25, 0.0], rtol=1e-4, atol=1e-8)
    assert not torch.allclose(slopes[0.02, 0.0], slopes[0.02, 0.25], rtol=0.5)


@pytest.mark.parametrize("policy", ["ranges", "intervals", "class_conditional"])
def test_the_probe_is_for_the_learner_alone(policy: PolicyName) -> None:
    """It learns from wider ranges; what is trained on, measured and shown to the guard are the ranges as they are."""
    learner = make(policy=policy, probe=0.5, ops={"brightness": 0.4})
    learner.augnet.policy.theta.fill_(-20.0)  # closed
    seen: list[Tensor] = []
    learner.capture.model.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    state = learner.generator.get_state()
    with frozen(learner.capture.model):
        batch, _ = learner.augmenter.augment_and_classify(*BATCH, checks=True)
    originals, augmented, trained = seen
    learner.generator.set_state(state)
    draws = learner.ranks.draw(learner.augnet, BATCH[0], learner.generator)
    assert torch.equal(trained, learner.augnet(*BATCH, draws=draws)[0])
    torch.testing.assert_close(trained, BATCH[0], rtol=0, atol=1e-6)
    with learner.augnet.policy.widened(0.5):
        assert torch.equal(augmented, learner.augnet(*BATCH, draws=draws)[0])
    assert 0.05 < (augmented - originals).abs().max() <= 0.2 + 1e-6
    assert batch.original_logits is not None
    assert batch.trained_logits is not None
    torch.testing.assert_close(batch.trained_logits, batch.original_logits, rtol=0, atol=1e-4)
    assert learner.update(*BATCH).pixel_change < 1e-6
    torch.testing.assert_close(learner.augnet(*BATCH, draws=draws)[0], BATCH[0], rtol=0, atol=0.01)


@pytest.mark.slow
def test_probed_images_do_not_raise_the_guard() -> None:
    """Images that the probe shifts out of sight are not recognised; none of them is trained on."""
    augnet = AugNet.from_ops({"translate_x": 1.0, "translate_y": 1.0}, 0.01).requires_grad_(False)
    learner = train_with(augnet, "none", 0, 100, probe=0.9, radius=None, sparsity=1.0)
    images, labels = blobs(192, 0, 0)
    with frozen(learner.capture.model):
        batch, _ = learner.augmenter.augment_and_classify(images, labels, checks=True)
    probed = (batch.logits.argmax(dim=1) == labels).float().mean()
    assert probed < 0.6
    assert learner.retention > 0.95
    assert learner.guard.rollbacks == 0
