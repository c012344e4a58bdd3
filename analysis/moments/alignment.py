"""Alignment of the saliency with the covariance of the augmented image. `docs/method.md`, "Moments".

    R = g^T Sigma g / (||g||^2 lambda_max)              in [0, 1]; 0: the loss does not change along the augmentation
    A = (g^T Sigma g / ||g||^2) / (tr Sigma / D)        1 for a random direction, less if aligned with what varies least

Sigma has few columns and a large null space, so the angle to its smallest eigenvector is not informative.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .factored import Moments


class Alignment(NamedTuple):
    """R and A."""

    worst: float
    random: float


def alignment(moments: Moments, gradient: Tensor) -> Alignment:
    """Return the alignment of a gradient with the covariance; both numbers are 0 where either is 0.

    Args:
        moments: Of the image `[...]`.
        gradient: Of the loss in the image, of its shape.
    """
    square, trace = float(gradient.square().sum()), float(moments.trace)
    if square == 0 or trace == 0:
        return Alignment(0.0, 0.0)
    along = float(moments.quadratic(gradient)) / square
    return Alignment(along / moments.largest, along / (trace / moments.mean.numel()))
