"""Classifiers: timm and pytorchcv models by name, any class by import path, and two small networks."""

from lightning_modules.models.build import build_model
from lightning_modules.models.small_convnet import SmallConvNet
from lightning_modules.models.wide_resnet import WideResNet

__all__ = ["SmallConvNet", "WideResNet", "build_model"]
