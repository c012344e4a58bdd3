"""Noise of batch gradients: their spread, the signal-to-noise ratio and the gradient-noise scale.

With `g_B` the gradient of a batch of B images, G its expectation and `S = tr Cov` of the gradient of one image,
`E ||g_B||^2 = ||G||^2 + S / B`. McCandlish et al., 2018, appendix A: from squared norms at two batch sizes

    S  = (g_small - g_big) / (1 / B_small - 1 / B_big)
    G2 = (B_big g_big - B_small g_small) / (B_big - B_small)

without bias, and the noise scale `S / G2` is the batch size at which noise and signal are equal. The big batch here is
all batches together. The spread is that of Geiping et al., 2023: `sqrt(E ||g_B - g_mean||^2)`.
"""

import math
from dataclasses import dataclass

from torch import Tensor


class SpreadOfVectors:
    """Welford's running mean of vectors and their total variance, in one pass and one vector of memory.

    Attributes:
        count: Vectors so far.
        mean: Their mean `[P]`, float64.
        squared_norm: Mean of their squared norms.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squared_norm = 0.0
        self._deviations = 0.0

    def update(self, vector: Tensor) -> None:
        """Add a vector `[P]`."""
        value = vector.detach().double()
        self.count += 1
        if self.mean is None:
            self.mean = value.clone()
        else:
            deviation = value - self.mean
            self.mean += deviation / self.count
            self._deviations += float(deviation @ (value - self.mean))
        self.squared_norm += (float(value @ value) - self.squared_norm) / self.count

    @property
    def variance(self) -> float:
        """Sum over the entries of their unbiased variance; NaN below two vectors."""
        return self._deviations / (self.count - 1) if self.count > 1 else math.nan


@dataclass(frozen=True)
class GradientNoise:
    """Noise of batch gradients.

    Attributes:
        batch_size: Images a batch, B.
        batches: Number of batches.
        spread: `sqrt(E ||g_B - g_mean||^2)`.
        signal_to_noise: `||g_mean|| / spread`; grows with the batch size.
        noise: S, the total variance of the gradient of one image.
        signal: G2, the squared norm of the expected gradient; an unbiased estimate, below zero if noise covers it.
        noise_scale: `S / G2` in images; infinite where `signal` is not positive.
    """

    batch_size: int
    batches: int
    spread: float
    signal_to_noise: float
    noise: float
    signal: float
    noise_scale: float


def noise_and_signal(small: float, big: float, small_batch: int, big_batch: int) -> tuple[float, float]:
    """Estimate S and G2 from `small` and `big`, the means of `||g||^2` over batches of so many images.

    Raises:
        ValueError: If the batch sizes are not in this order.

    Example:
        >>> noise_and_signal(small=3.0, big=1.25, small_batch=1, big_batch=8)
        (2.0, 1.0)
    """
    if not 0 < small_batch < big_batch:
        raise ValueError(f"expected 0 < small_batch < big_batch, found {small_batch} and {big_batch}.")
    noise = (small - big) / (1 / small_batch - 1 / big_batch)
    signal = (big_batch * big - small_batch * small) / (big_batch - small_batch)
    return noise, signal


def summarize(seen: SpreadOfVectors, batch_size: int) -> GradientNoise:
    """Summarize the noise of the gradients of batches of `batch_size` images, at least two.

    Raises:
        ValueError: If there are fewer than two batches.
    """
    if seen.mean is None or seen.count < 2:
        raise ValueError(f"gradient noise needs at least two batches, found {seen.count}: take smaller ones.")
    norm = float(seen.mean.norm())
    spread = math.sqrt(max(seen.variance, 0.0))
    noise, signal = noise_and_signal(seen.squared_norm, norm**2, batch_size, seen.count * batch_size)
    signal_to_noise = norm / spread if spread > 0 else math.inf
    noise_scale = noise / signal if signal > 0 else math.inf
    return GradientNoise(batch_size, seen.count, spread, signal_to_noise, noise, signal, noise_scale)
