"""Second derivatives of losses in the logits, which the Hessian of the last layer is made of."""

from influence.curvature.base import Curvature
from influence.curvature.blocks import BlockCurvature
from influence.curvature.separate import SeparateCurvature
from influence.curvature.softmax import SoftmaxCurvature

__all__ = ["BlockCurvature", "Curvature", "SeparateCurvature", "SoftmaxCurvature"]
