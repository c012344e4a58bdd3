"""Losses of a classifier as the influence follows them: derivatives in the logits, row by row."""

from influence.losses.autograd import AutogradLoss
from influence.losses.base import Loss
from influence.losses.binary import BinaryCrossEntropy
from influence.losses.cross_entropy import CrossEntropy
from influence.losses.from_torch import LossLike, loss_from

__all__ = ["AutogradLoss", "BinaryCrossEntropy", "CrossEntropy", "Loss", "LossLike", "loss_from"]
