"""How flat a minimum is and how noisy its gradients are (Geiping et al., 2023)."""

from .flatness import flatness, random_walks
from .gradient_noise import GradientNoise, SpreadOfVectors, noise_and_signal, summarise

__all__ = ["GradientNoise", "SpreadOfVectors", "flatness", "noise_and_signal", "random_walks", "summarise"]
