import itertools

import pytest
import torch
from torch import Tensor

from augnet import MixturePolicy, TransformSpace
from lightning_modules.learner.objective import score_function

SPACE = TransformSpace({"rotation": 30.0, "scale": 0.7})


def mixture() -> MixturePolicy:
    policy = MixturePolicy.over(SPACE, levels=2).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return policy


def draw(policy: MixturePolicy, count: int, generator: torch.Generator) -> Tensor:
    """Choices `[count, N]` for images of 4 x 4 pixels."""
    numbers = torch.rand(count, policy.numbers_per_image, generator=generator)
    return policy.choose(torch.zeros(count, 1, 4, 4), numbers)[1]


def gradient(policy: MixturePolicy, value: Tensor) -> Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, list(policy.parameters()))])


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_its_expectation_over_all_batches_is_the_exact_gradient(batch: int) -> None:
    """Every batch of choices, weighted by its probability: no sampling error, so bias would show to the last digit."""
    policy = mixture()
    costs = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = gradient(policy, policy.probabilities().flatten() @ costs)
    mean = torch.zeros_like(exact)
    for rows in itertools.product(range(6), repeat=batch):
        choices = torch.tensor(rows)
        log_probs = policy.log_prob(choices[:, None])
        mean += log_probs.sum().exp().detach() * gradient(policy, score_function(log_probs, costs[choices]))
    assert exact.abs().max() > 0.01
    torch.testing.assert_close(mean, exact, rtol=1e-10, atol=1e-13)


def test_the_baseline_takes_away_what_all_costs_share() -> None:
    policy = mixture()
    choices = draw(policy, 8, torch.Generator().manual_seed(0))
    costs = torch.linspace(-1, 1, 8, dtype=torch.float64)
    first, second = (gradient(policy, score_function(policy.log_prob(choices), costs + add)) for add in (0.0, 100.0))
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-12)


def test_costs_carry_no_gradient() -> None:
    log_probs, costs = torch.zeros(4, requires_grad=True), torch.arange(4.0, requires_grad=True)
    score_function(log_probs, costs).backward()
    assert costs.grad is None


def test_the_best_op_of_a_bandit_is_found() -> None:
    """Strong rotation costs least; one noisy batch of 32 draws at a time."""
    torch.manual_seed(0)
    policy = MixturePolicy.over(TransformSpace(["rotation", "scale", "shear_x", "contrast"]))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    costs = torch.zeros(5, 3)
    costs[1, 2] = -1.0
    for _ in range(100):
        choices = draw(policy, 32, generator)
        noisy = costs.flatten()[choices[:, 0]] + torch.randn(32, generator=generator)
        optimizer.zero_grad()
        (score_function(policy.log_prob(choices), noisy) + 0.05 * policy.kl()).backward()
        optimizer.step()
    probabilities = policy.probabilities()
    assert probabilities[1, 2] > 0.6
    assert probabilities[1, 2] > 20 * probabilities[1, :2].max()
