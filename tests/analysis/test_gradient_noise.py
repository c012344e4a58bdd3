import math

import pytest
import torch
from torch import Tensor

from analysis.landscape.gradient_noise import SpreadOfVectors, noise_and_signal, summarize

ENTRIES = 20


def gaussian_batches(count: int, batch_size: int, seed: int) -> tuple[Tensor, float, float]:
    """Gradients `[count, P]` of batches, with the S and G2 that they are drawn from."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.linspace(-1, 1, ENTRIES, dtype=torch.float64)
    deviation = torch.linspace(0.5, 3, ENTRIES, dtype=torch.float64)
    images = mean + deviation * torch.randn(count, batch_size, ENTRIES, generator=generator, dtype=torch.float64)
    return images.mean(dim=1), float(deviation.square().sum()), float(mean.square().sum())


def seen(gradients: Tensor) -> SpreadOfVectors:
    spread = SpreadOfVectors()
    for gradient in gradients:
        spread.update(gradient)
    return spread


def test_one_pass_gives_mean_and_variance() -> None:
    vectors = 1e4 + torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = seen(vectors)
    assert found.mean is not None
    assert torch.allclose(found.mean, vectors.mean(0), rtol=1e-12)
    assert found.variance == pytest.approx(float(vectors.var(0).sum()), rel=1e-9)
    assert found.squared_norm == pytest.approx(float(vectors.square().sum(1).mean()), rel=1e-12)
    assert found.count == 50


def test_the_noise_scale_of_gaussian_gradients_is_known() -> None:
    gradients, noise, signal = gaussian_batches(2000, 16, seed=0)
    found = summarize(seen(gradients), 16)
    assert found.noise == pytest.approx(noise, rel=0.03)
    assert found.signal == pytest.approx(signal, rel=0.03)
    assert found.noise_scale == pytest.approx(noise / signal, rel=0.05)
    assert found.spread == pytest.approx(math.sqrt(noise / 16), rel=0.02)
    assert found.signal_to_noise == pytest.approx(math.sqrt(signal / (noise / 16)), rel=0.03)


@pytest.mark.parametrize("batch_size", [2, 32])
def test_both_estimates_are_without_bias(batch_size: int) -> None:
    """From only four batches at a time; their mean over 2,000 repetitions lies within four standard errors."""
    repeats = [gaussian_batches(4, batch_size, seed) for seed in range(2000)]
    found = [summarize(seen(gradients), batch_size) for gradients, _, _ in repeats]
    for name, truth in (("noise", repeats[0][1]), ("signal", repeats[0][2])):
        estimates = torch.tensor([getattr(one, name) for one in found], dtype=torch.float64)
        error = float(estimates.std()) / math.sqrt(len(estimates))
        assert abs(float(estimates.mean()) - truth) < 4 * error


def test_the_noise_is_the_batch_size_times_the_variance() -> None:
    """The two formulas are one when the big batch is all small ones together."""
    gradients, _, _ = gaussian_batches(10, 8, seed=3)
    found = summarize(seen(gradients), 8)
    assert found.noise == pytest.approx(8 * float(gradients.var(0).sum()), rel=1e-9)


def test_pure_noise_has_no_noise_scale() -> None:
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = summarize(seen(gradients), 4)
    assert found.signal < 0
    assert found.noise_scale == math.inf
    assert found.signal_to_noise == 0


def test_equal_gradients_have_no_noise() -> None:
    found = summarize(seen(torch.ones(3, 4)), 2)
    assert (found.spread, found.noise_scale, found.signal) == (0, 0, 4)
    assert found.signal_to_noise == math.inf


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two batches"):
        summarize(seen(torch.ones(1, 4)), 2)
    with pytest.raises(ValueError, match="small_batch < big_batch"):
        noise_and_signal(1.0, 1.0, 8, 8)
