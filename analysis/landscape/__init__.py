"""Flatness of a minimum and noise of its gradients (Geiping et al., 2023; `docs/method.md`, "Flatness")."""

import warnings
from typing import Any

from .flatness import flatness, random_walks
from .gradient_noise import GradientNoise, SpreadOfVectors, noise_and_signal, summarize

__all__ = ["GradientNoise", "SpreadOfVectors", "flatness", "noise_and_signal", "random_walks", "summarize"]


def __getattr__(name: str) -> Any:
    """Return what a former name stands for, with a DeprecationWarning."""
    if name != "summarise":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("summarise is summarize now", DeprecationWarning, stacklevel=2)
    return summarize
