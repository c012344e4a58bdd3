import pytest
import torch
import torch.nn.functional as F
from influence_cases import close, clusters
from torch import Tensor

from influence import ConvergenceWarning, Samples, append_bias, refit_head

DECAY = 0.02


def objective(head: Tensor, samples: Samples, weights: Tensor) -> Tensor:
    losses = F.cross_entropy(append_bias(samples.features) @ head.T, samples.targets, reduction="none")
    return (losses * weights).mean() + DECAY / 2 * head[:, :-1].square().sum()


@pytest.mark.parametrize("kind", ["plain", "weighted", "soft"])
def test_the_head_is_stationary_and_that_of_another_optimizer(kind: str) -> None:
    features, targets = clusters(50, seed=0)
    if kind == "soft":
        targets = 0.8 * F.one_hot(targets, 3).double() + 0.2 / 3
    weights = torch.linspace(0, 3, 50).double() if kind == "weighted" else torch.ones(50).double()
    samples = Samples(features, targets)
    found = refit_head(samples, 3, weight_decay=DECAY, weights=weights if kind == "weighted" else None)
    assert torch.func.grad(objective)(found, samples, weights).norm() < 1e-9

    head = torch.zeros(3, 7, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [head], max_iter=500, tolerance_grad=1e-11, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = objective(head, samples, weights)
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    close(found, head.detach(), 1e-6)


def test_weight_zero_is_removal_with_the_same_divisor() -> None:
    features, labels = clusters(20, seed=0)
    keep = torch.ones(20).double()
    keep[3] = 0
    without = Samples(features[keep > 0], labels[keep > 0])
    removed = refit_head(Samples(features, labels), 3, weight_decay=DECAY, weights=keep)
    close(removed, refit_head(without, 3, weight_decay=DECAY * 20 / 19), 1e-7)


@pytest.mark.parametrize(("spread", "scale", "decay"), [(0.05, 1.0, 1e-4), (1.3, 10.0, 0.1)])
def test_the_start_does_not_matter(spread: float, scale: float, decay: float) -> None:
    """Separable samples, which have a minimum by the decay alone; large features, where full steps overshoot."""
    features, labels = clusters(30, seed=0, spread=spread)
    samples = Samples(scale * features, labels)
    found = refit_head(samples, 3, weight_decay=decay)
    far = 20 * torch.randn(3, 7, generator=torch.Generator().manual_seed(0)).double()
    close(refit_head(samples, 3, weight_decay=decay, initial=far), found, 1e-4)
    assert found.sum(dim=0).abs().max() < 1e-9


def test_only_the_ratio_of_weights_and_decay_counts() -> None:
    samples = Samples(*clusters(30, seed=0))
    small = refit_head(samples, 3, weight_decay=1e-4, weights=torch.full((30,), 1e-3), tol=1e-13)
    close(small, refit_head(samples, 3, weight_decay=0.1), 1e-7)


def test_a_missed_tolerance_is_warned_of() -> None:
    samples = Samples(*clusters(30, seed=0))
    with pytest.warns(ConvergenceWarning, match="refit stopped at a gradient norm") as caught:
        refit_head(samples, 3, weight_decay=DECAY, tol=1e-300)
    assert caught[-1].filename == __file__
