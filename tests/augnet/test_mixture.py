import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from augnet import AugNet, MixturePolicy, TransformSpace
from augnet.classic import classic_space

SPACE = TransformSpace({"rotation": 30.0, "scale": 0.7, "grayscale": 0.5})
IMAGES = torch.zeros(6, 3, 12, 16)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixture(seed: int | None = 0, space: TransformSpace = SPACE, **settings: Any) -> MixturePolicy:
    """A mixture with learned numbers of any size; the prior if there is no seed."""
    policy = MixturePolicy.over(space, **settings)
    if seed is not None:
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter, std=0.7, generator=generator(seed))
    return policy


def many(count: int) -> Tensor:
    """Images of which only the number and size matter, without their memory."""
    return torch.zeros(()).expand(count, 3, 12, 16)


def draw(policy: MixturePolicy, images: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
    return policy.choose(images, torch.rand(len(images), policy.numbers_per_image, generator=source))


def ops_of(policy: MixturePolicy, magnitudes: Tensor) -> Tensor:
    """For each row the number of ops that are not at 0."""
    return (magnitudes != 0).sum(dim=1)


# The distribution


def test_probabilities_by_hand() -> None:
    policy = mixture(floor=0.2)
    prior = torch.tensor([11 / 31, 10 / 31, 10 / 31])
    for op in range(4):
        weights = policy.op_logits.exp()
        levels = prior * (policy.level_logits[op].exp() if op > 0 else 1)  # the identity has no strength to learn
        expected = 0.8 * weights[op] / weights.sum() * levels / levels.sum() + 0.2 * prior / 4
        torch.testing.assert_close(policy.probabilities()[op], expected)
    assert policy.probabilities().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("ops_per_image", [1, 2])
def test_log_prob_of_every_draw_adds_up_to_one(ops_per_image: int) -> None:
    policy = mixture(ops_per_image=ops_per_image).double()
    choices = torch.tensor(list(itertools.product(range(12), repeat=ops_per_image)))
    total = policy.log_prob(choices).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-12, atol=0)
    flat = policy.probabilities().flatten()
    for row, found in zip(choices[::7], policy.log_prob(choices)[::7].exp(), strict=True):
        torch.testing.assert_close(found, flat[row].prod())


@pytest.mark.parametrize("ops_per_image", [1, 2])
def test_draws_come_as_often_as_they_should(ops_per_image: int) -> None:
    policy, count = mixture(ops_per_image=ops_per_image), 40_000
    with torch.no_grad():
        choices = draw(policy, many(count), generator(1))[1]
        expected = policy.probabilities().flatten()
    found = torch.bincount(choices.flatten(), minlength=12) / choices.numel()
    deviation = (expected * (1 - expected) / choices.numel()).sqrt()
    assert ((found - expected).abs() < 4 * deviation).all()
    if ops_per_image == 2:  # independent
        together = torch.bincount(choices[:, 0] * 12 + choices[:, 1], minlength=144) / count
        joint = torch.outer(expected, expected).flatten()
        assert ((together - joint).abs() < 5 * (joint / count).sqrt()).all()


def test_magnitudes_are_those_of_the_choices() -> None:
    policy = mixture(ops_per_image=1)
    magnitudes, choices = draw(policy, many(2000), generator())
    rows = policy.table.rows(12, 16)
    for magnitude, choice in zip(magnitudes.detach(), choices[:, 0], strict=True):
        op, level = divmod(int(choice), 3)
        first, last = [(0, 11), (11, 21), (21, 31)][level]
        candidates = rows[op, :, first:last].flatten(0, 1)
        assert (candidates == magnitude).all(dim=1).any()
    assert (magnitudes[:, 0] < 0).any()
    assert (magnitudes[:, 0] > 0).any()
    assert magnitudes[:, 2].min() == 0


def test_strengths_within_a_level_and_signs_are_uniform() -> None:
    policy = mixture(None, TransformSpace({"rotation": 30.0}))
    magnitudes = policy.sample(many(60_000), None, generator())[:, 0].detach()
    found = torch.bincount((magnitudes + 30).round().long(), minlength=61) / len(magnitudes)
    found = found[found.nonzero().flatten()]
    assert len(found) == 61
    found = torch.cat([found[:30], found[31:]])  # without 0, which the identity has too
    assert ((found - 1 / 2 / 62).abs() < 5 * math.sqrt(1 / 124 / 60_000)).all()


def test_two_ops_are_both_done_and_the_same_one_only_once() -> None:
    policy = mixture(ops_per_image=2)
    magnitudes, choices = draw(policy, many(4000), generator())
    ops = choices // 3
    same = ops[:, 0] == ops[:, 1]
    assert same.any()
    assert (ops_of(policy, magnitudes) <= torch.where(same, 1, 2)).all()
    assert (ops_of(policy, magnitudes) == 2).any()
    assert (magnitudes.abs() <= torch.tensor(SPACE.bounds)).all()


def test_the_initial_mixture_is_trivial_augment() -> None:
    """14 ops with 31 strengths and two signs, all as likely."""
    policy, count, images = MixturePolicy.trivial_augment(), 40_000, torch.zeros(()).expand(40_000, 3, 32, 32)
    torch.testing.assert_close(policy.probabilities(), policy.prior())
    assert policy.probabilities().sum(dim=1).tolist() == pytest.approx([1 / 14] * 14)
    assert policy.kl().item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        magnitudes = policy.sample(images, None, generator())
    rows = policy.table.rows(32, 32).flatten(0, 2)  # all 868, as likely each
    unique, numbers = rows.unique(dim=0, return_inverse=True)
    expected = torch.bincount(numbers).double() / len(rows)
    seen, found = torch.cat([unique, magnitudes]).unique(dim=0, return_counts=True)
    assert len(seen) == len(unique)  # nothing else is ever drawn
    frequencies = (found - 1) / count
    assert ((frequencies - expected).abs() < 5 * (expected / count).sqrt()).all()
    augmented = AugNet(classic_space(), policy)(torch.rand(64, 3, 32, 32, generator=generator()), generator=generator())
    assert augmented.shape == (64, 3, 32, 32)


def test_kl_is_that_of_torch() -> None:
    policy = mixture()
    distributions = [torch.distributions.Categorical(p.flatten()) for p in (policy.probabilities(), policy.prior())]
    torch.testing.assert_close(policy.kl(), torch.distributions.kl_divergence(*distributions))
    assert policy.kl() > 0.01


def test_the_floor_keeps_every_choice_alive() -> None:
    policy = mixture(floor=0.1)
    with torch.no_grad():
        policy.op_logits.copy_(torch.tensor([1000.0, -1000, -1000, -1000]))
        policy.level_logits[:, 0] = 1000.0
    probabilities = policy.probabilities()
    torch.testing.assert_close(probabilities.amin(dim=0), 0.1 * policy.prior()[0])
    choices = draw(policy, many(20_000), generator())[1]
    assert len(choices.unique()) == 12
    gradient = torch.autograd.grad(policy.log_prob(choices).sum() + policy.kl(), list(policy.parameters()))
    assert all(part.isfinite().all() for part in gradient)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types(dtype: torch.dtype) -> None:
    policy = mixture().to(dtype)
    assert policy.sample(IMAGES, None, generator()).dtype == dtype
    assert torch.equal(draw(policy, IMAGES, generator())[1], draw(mixture(), IMAGES, generator())[1])


# The rest


def test_the_generator_alone_decides_the_draw() -> None:
    policy = mixture(ops_per_image=2)
    state = torch.get_rng_state()
    first, same, other = (policy.sample(many(50), None, generator(seed)) for seed in (0, 0, 1))
    assert not first.requires_grad  # the score function needs none
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_description() -> None:
    policy = mixture(None, TransformSpace({"rotation": 30.0}), floor=0.1)
    with torch.no_grad():
        policy.op_logits[1] = math.log(3)
        policy.level_logits[1, 2] = 50.0  # always strong
    described = policy.describe(TransformSpace({"rotation": 30.0}))
    assert list(described) == ["identity", "rotation"]
    facts = described["rotation"]
    assert (facts["unit"], facts["bound"]) == ("degrees", 30.0)
    assert facts["probability"] == pytest.approx(0.9 * 0.75 + 0.1 * 0.5, abs=1e-6)
    assert sum(facts["probabilities"]) == pytest.approx(facts["probability"], abs=1e-5)
    draws = policy.sample(many(40_000), None, generator()).detach().abs()
    choices = draw(policy, many(40_000), generator())[1][:, 0]
    assert facts["strength"] == pytest.approx(draws[choices >= 3].mean().item(), abs=0.1)
    assert policy.shares(SPACE) == {name: value["probability"] for name, value in described.items()}
    assert described["identity"]["strength"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 0}, r"levels: expected 1 to 31 \(the number of strengths\), found 0"),
        ({"levels": 32}, "levels: expected 1 to 31"),
        ({"ops_per_image": 3}, "ops_per_image: expected 1 or 2, found 3"),
        ({"floor": 1.0}, r"floor: expected a share in \[0, 1\), found 1"),
        ({"floor": -0.1}, "floor: expected a share"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixturePolicy.over(SPACE, **settings)
