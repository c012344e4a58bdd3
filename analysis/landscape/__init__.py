"""Flatness of a minimum and noise of its gradients (Geiping et al., 2023; `docs/method.md`, "Flatness")."""

from ..former_names import former_names
from .flatness import flatness, random_walks
from .gradient_noise import GradientNoise, SpreadOfVectors, noise_and_signal, summarize

__all__ = ["GradientNoise", "SpreadOfVectors", "flatness", "noise_and_signal", "random_walks", "summarize"]

__getattr__ = former_names(__name__, summarise="summarize")
