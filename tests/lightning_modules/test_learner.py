import copy
import io
import itertools
import math

import pytest
import torch
from learner_cases import (
    BATCH,
    INFLUENCE_SET,
    influence_by_double_backward,
    make,
    network,
    oracle_network,
    train_with,
)
from torch import Tensor, nn
from toys import OPS, ToyNet, blobs

from augnet import AugNet
from augnet.baselines import FlipCrop
from influence import Solution
from influence.losses import CrossEntropy
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.settings import InfluenceControl, LearnerSettings


def theta(learner: PolicyLearner) -> Tensor:
    values: Tensor = learner.augnet.policy.theta.detach().clone()
    return values


def policy_gradient(learner: PolicyLearner) -> Tensor:
    """The gradient that the latest update handed to the optimiser."""
    gradient: Tensor | None = learner.augnet.policy.theta.grad
    assert gradient is not None
    return gradient.clone()


# What an update must leave alone


@pytest.mark.parametrize("base", [None, FlipCrop()])
def test_classifier_and_random_state_are_bit_for_bit_the_same(base: FlipCrop | None) -> None:
    learner = make(base=base)
    model = network(learner)
    model(BATCH[0])  # statistics that are not the initial ones
    model.body[0].eval()
    model.head.weight.grad = torch.full_like(model.head.weight, 0.5)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    flags = [module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]
    start, state = theta(learner), torch.get_rng_state()

    for _ in range(2):
        learner.update(*BATCH)

    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(theta(learner), start)
    for name, value in before.items():
        assert torch.equal(tensors[name], value), name
    for name, parameter in model.named_parameters():
        expected = gradients[name]
        if expected is None:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, expected), name
    assert ([module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]) == flags
    assert tensors["body.2.num_batches_tracked"] == 1


def test_draws_are_the_learners_own() -> None:
    first, second = make(), make()
    first.update(*BATCH)
    torch.rand(7)
    second.update(*BATCH)
    assert torch.equal(theta(first), theta(second))


@pytest.mark.parametrize("fails", [False, True])
def test_policy_learns_inside_an_update_only(fails: bool) -> None:
    learner = make()
    learner.augnet.eval()
    if fails:
        with pytest.raises(RuntimeError):
            learner.update(torch.rand(12, 1, 5, 5), BATCH[1])
    else:
        learner.update(*BATCH)
    assert not learner.augnet.training
    assert not any(parameter.requires_grad for parameter in learner.augnet.parameters())


# The gradient


def dense_solve(model: ToyNet, rows: Tensor, influence_set: tuple[Tensor, Tensor], damping: float) -> Tensor:
    """`S` `[K, D+1]` from autograd's Hessian and gradient, and nothing of the influence package."""
    head = torch.cat([model.head.weight, model.head.bias[:, None]], dim=1).detach()

    def features(images: Tensor) -> Tensor:
        return torch.nn.functional.pad(model.scale * model.body(images), (0, 1), value=1.0).detach()

    def loss(flat: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(inputs @ flat.view_as(head).T, labels)

    training, targets = features(rows), BATCH[1].repeat(len(rows) // len(BATCH[1]))
    hessian = torch.autograd.functional.hessian(lambda flat: loss(flat, training, targets), head.flatten())
    hessian = hessian + damping * hessian.diagonal().mean() * torch.eye(head.numel(), dtype=head.dtype)
    flat = head.flatten().requires_grad_()
    held_out, labels = influence_set
    (gradient,) = torch.autograd.grad(loss(flat, features(held_out), labels), flat)
    S: Tensor = torch.linalg.solve(hessian, gradient)
    return S.view_as(head)


@pytest.mark.parametrize("clip", [1e9, 0.7])
def test_gradient_is_that_of_an_independent_double_backward(clip: float) -> None:
    learner = make(double=True, clip=clip, damping=0.05)
    images, labels = BATCH[0].double(), BATCH[1]
    batches: list[Tensor] = []
    learner.augnet.register_forward_hook(lambda module, args, output: batches.append(output[0].detach()))
    learner.update(images, labels)
    oracle = copy.deepcopy(learner.augnet).train().requires_grad_(True)
    generator = torch.Generator()
    generator.set_state(learner.generator.get_state())

    update = learner.update(images, labels)

    model = oracle_network(learner)
    S = dense_solve(model, torch.cat(batches), learner.influence.influence_set, damping=0.05)
    torch.testing.assert_close(update.solution.value, S, rtol=1e-8, atol=1e-12)
    augmented = oracle(images, generator=generator)
    assert torch.equal(augmented, batches[1])
    influence = influence_by_double_backward(model, augmented, labels, S)
    torch.testing.assert_close(update.influence, influence.detach(), rtol=1e-8, atol=1e-12)
    relative = influence / influence.detach().square().mean().sqrt()
    bounded = relative if clip == 1e9 else clip * torch.tanh(relative / clip)
    (expected,) = torch.autograd.grad(bounded.mean(), oracle.policy.theta)
    assert expected.abs().min() > 1e-6
    torch.testing.assert_close(policy_gradient(learner), expected, rtol=1e-7, atol=1e-12)


def test_first_step_of_adam_is_the_learning_rate_against_the_gradient() -> None:
    learner = make(lr=0.02)
    start = theta(learner)
    learner.update(*BATCH)
    torch.testing.assert_close(theta(learner) - start, -0.02 * policy_gradient(learner).sign(), rtol=1e-3, atol=0)


def test_flipped_is_exactly_the_opposite() -> None:
    method, flipped = make(), make("flipped")
    method.update(*BATCH)
    flipped.update(*BATCH)
    assert policy_gradient(method).abs().min() > 0
    assert torch.equal(policy_gradient(flipped), -policy_gradient(method))


def test_shuffled_scores_each_image_by_the_error_of_another() -> None:
    learner = make("shuffled", double=True, clip=1e9)
    images, labels = BATCH[0].double(), BATCH[1]
    generator = torch.Generator()
    generator.set_state(learner.generator.get_state())
    oracle = copy.deepcopy(learner.augnet).train().requires_grad_(True)
    augmented = oracle(images, generator=generator)
    order = torch.randperm(len(labels), generator=generator)

    update = learner.update(images, labels)

    model = oracle_network(learner)
    features, logits = FeatureCapture(model, model.head)(augmented)
    errors = logits.softmax(dim=1) - nn.functional.one_hot(labels, logits.shape[1])
    rows = torch.nn.functional.pad(features, (0, 1), value=1.0)
    expected = -torch.einsum("bk,kd,bd->b", errors[order], update.solution.value, rows)
    assert order.tolist() != sorted(order.tolist())
    torch.testing.assert_close(update.influence, expected.detach(), rtol=1e-10, atol=1e-12)
    scale = expected.detach().square().mean().sqrt()
    (gradient,) = torch.autograd.grad((expected / scale).mean(), oracle.policy.theta)
    torch.testing.assert_close(policy_gradient(learner), gradient, rtol=1e-7, atol=1e-12)


def test_label_smoothing_is_that_of_the_training_samples_only() -> None:
    plain, smooth = make(double=True), make(double=True)
    smooth.influence.loss = CrossEntropy(label_smoothing=0.2)
    images, labels = BATCH[0].double(), BATCH[1]
    generator = torch.Generator()
    generator.set_state(smooth.generator.get_state())
    augmented = copy.deepcopy(smooth.augnet).train()(images, generator=generator).detach()
    model = copy.deepcopy(smooth.capture.model).eval()

    hard, update = plain.update(images, labels), smooth.update(images, labels)

    assert torch.equal(update.solution.value, hard.solution.value)
    features, logits = FeatureCapture(model, model.head)(augmented)  # type: ignore[arg-type]
    targets = 0.8 * nn.functional.one_hot(labels, logits.shape[1]).double() + 0.2 / logits.shape[1]
    rows = torch.nn.functional.pad(features, (0, 1), value=1.0)
    expected = -torch.einsum("bk,kd,bd->b", logits.softmax(dim=1) - targets, update.solution.value, rows)
    torch.testing.assert_close(update.influence, expected.detach(), rtol=1e-10, atol=1e-12)


def test_identity_hessian_is_the_gradient_itself() -> None:
    learner = make("identity_hessian", double=True)
    solution = learner.update(BATCH[0].double(), BATCH[1]).solution
    model = oracle_network(learner)
    images, labels = learner.influence.influence_set
    nn.functional.cross_entropy(model(images), labels).backward()
    assert model.head.weight.grad is not None
    assert model.head.bias.grad is not None
    expected = torch.cat([model.head.weight.grad, model.head.bias.grad[:, None]], dim=1)
    torch.testing.assert_close(solution.value, expected, rtol=1e-10, atol=1e-14)


def train(corruption: InfluenceControl, seed: int, steps: int = 70) -> dict[str, float]:
    """Train classifier and ranges together; the half-widths at the end."""
    augnet = AugNet.from_ops(OPS, 0.2).requires_grad_(False)
    train_with(augnet, corruption, seed, steps)
    return {name: float(facts["half_width"]) for name, facts in augnet.describe().items()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_shift_grows_its_range_and_shrinks_under_the_flipped_sign(seed: int) -> None:
    """Deployment moves the blobs up and down; moving them sideways changes their class. Both start at 0.08."""
    learned, flipped = train("none", seed), train("flipped", seed)
    assert learned["translate_y"] > 0.12
    assert learned["translate_x"] < 0.04
    assert flipped["translate_y"] < 0.04
    assert flipped["translate_x"] > 0.2


# What an update reports


def fitted(model: nn.Module) -> None:
    """Fit the batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(BATCH[0]), BATCH[1]).backward()
        optimizer.step()


def test_report_of_an_update() -> None:
    learner = make(initial=1.0)
    fitted(learner.capture.model)
    batches: list[Tensor] = []
    learner.augnet.register_forward_hook(lambda module, args, output: batches.append(output[0].detach()))
    update = learner.update(*BATCH)
    model = oracle_network(learner)
    images, labels = INFLUENCE_SET
    loss = nn.functional.cross_entropy(model(images), labels).item()
    assert update.influence_loss == pytest.approx(loss, rel=1e-5)
    augmented, original = (int((model(pixels).argmax(dim=1) == BATCH[1]).sum()) for pixels in (batches[0], BATCH[0]))
    assert 0 < augmented < original
    assert update.retention == pytest.approx(augmented / original)
    assert update.influence.shape == BATCH[1].shape
    assert not update.influence.requires_grad
    assert update.solution.relative_residual <= 1e-2


def test_bfloat16_classifier_float32_solve() -> None:
    def autocast() -> torch.autocast:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    half, full = make(forward_context=autocast), make()
    seen: list[torch.dtype] = []
    half.capture.head.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    solutions = [learner.update(*BATCH).solution for learner in (half, full)]
    assert set(seen) == {torch.bfloat16}
    assert half.influence.bank.rows().features.dtype == torch.float32
    assert solutions[0].value.dtype == torch.float32
    assert solutions[0].relative_residual < 1e-4  # a bfloat16 solve stalls at 1e-2
    first, second = (solution.value.flatten() for solution in solutions)
    assert nn.functional.cosine_similarity(first, second, dim=0) > 0.99
    assert policy_gradient(half).dtype == torch.float32
    assert nn.functional.cosine_similarity(policy_gradient(half), policy_gradient(full), dim=0) > 0.9


# Schedule, state, settings


@pytest.mark.parametrize(
    ("interval", "warmup", "expected"),
    [
        (3, 5, [6, 9, 12]),
        (3, 6, [9, 12]),
        (1, 0, list(range(1, 13))),
        (4, 0, [4, 8, 12]),
        (1, 10, [11, 12]),
        (5, 100, []),
    ],
)
def test_due(interval: int, warmup: int, expected: list[int]) -> None:
    learner = make(interval=interval, warmup=warmup)
    assert [step for step in range(13) if learner.due(step)] == expected


def test_refresh_counts_updates_between_solves() -> None:
    learner = make(refresh=3)
    solutions: list[Solution] = [learner.update(*BATCH).solution for _ in range(7)]
    changes = [later is not earlier for earlier, later in itertools.pairwise(solutions)]
    assert changes == [False, False, True, False, False, True]


def test_hessian_is_that_of_the_newest_rows() -> None:
    learner = make(hessian_rows=20)
    batches: list[Tensor] = []
    learner.augnet.register_forward_hook(lambda module, args, output: batches.append(output[0].detach()))
    for _ in range(3):
        learner.update(*BATCH)
    model = oracle_network(learner)
    rows = learner.influence.bank.rows()
    torch.testing.assert_close(rows.logits, model(torch.cat(batches)[-20:]).detach(), rtol=1e-5, atol=1e-6)
    assert torch.equal(rows.targets.argmax(dim=1), BATCH[1].repeat(3)[-20:])


LARGE = blobs(192, 0, 2)  # with features of width 200: too many unknowns and too many rows for a direct solve


def test_a_solve_starts_from_the_last_one() -> None:
    learner = make(width=200, initial=1e-4)  # hardly any augmentation: the Hessian stays what it was
    first, second = (learner.update(*LARGE).solution for _ in range(2))
    assert "cg" in first.method
    assert first.iterations >= 2
    assert second.iterations < first.iterations


def test_state_goes_through_a_file_without_pickled_objects() -> None:
    learner = make(refresh=2, hessian_rows=400, width=200)
    for _ in range(3):
        learner.update(*LARGE)
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    file.seek(0)
    resumed = make(refresh=2, hessian_rows=400, width=200)
    resumed.augnet.load_state_dict(learner.augnet.state_dict())
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert (resumed.updates, resumed.retention) == (3, learner.retention)
    for _ in range(3):
        expected, found = learner.update(*LARGE), resumed.update(*LARGE)
        assert torch.equal(found.influence, expected.influence)
        assert torch.equal(found.solution.value, expected.solution.value)
        assert (found.retention, found.influence_loss) == (expected.retention, expected.influence_loss)
        assert torch.equal(theta(resumed), theta(learner))
    assert "cg" in learner.update(*LARGE).solution.method


def test_fresh_state_can_be_restored() -> None:
    learner, resumed = make(), make()
    resumed.load_state_dict(learner.state_dict())
    assert not resumed.influence.solved
    learner.update(*BATCH)
    resumed.update(*BATCH)
    assert torch.equal(theta(resumed), theta(learner))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("interval", 0, r"learner\.interval must lie in .*found 0"),
        ("refresh", -1, r"learner\.refresh must lie in .*found -1"),
        ("hessian_rows", 0, r"learner\.hessian_rows must lie in"),
        ("max_iterations", 0, r"learner\.max_iterations must lie in"),
        ("warmup", -1, r"learner\.warmup must lie in .*found -1"),
        ("lr", 0.0, r"learner\.lr must lie in .*found 0.0"),
        ("damping", -0.1, r"learner\.damping must lie in .*found -0.1"),
        ("tol", math.nan, r"learner\.tol must lie in .*found nan"),
        ("clip", math.inf, r"learner\.clip must lie in .*found inf"),
        ("radius", 0.0, r"learner\.radius must lie in .*found 0.0"),
        ("freeze", -0.1, r"learner\.freeze must lie in .*found -0.1"),
        ("until", 0.0, r"learner\.until must lie in \(0, 1\], found 0.0"),
        ("ema", 1.0, r"learner.ema must lie in \[0, 1\), found 1.0"),
        ("kl", -0.1, r"learner\.kl must lie in .*found -0\.1"),
    ],
)
def test_settings_that_make_no_sense(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnerSettings(**{field: value})  # type: ignore[arg-type]


def test_unknown_corruption() -> None:
    with pytest.raises(ValueError, match=r"expected control one of .*flipped.*found 'plain'"):
        make("plain")  # type: ignore[arg-type]
