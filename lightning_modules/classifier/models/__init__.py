"""Classifiers: timm and pytorchcv models by name, any class by import path, and three networks of our own."""

from lightning_modules.classifier.models.build import build_model
from lightning_modules.classifier.models.shake_drop import ShakeDrop, pyramidnet_shakedrop
from lightning_modules.classifier.models.small_convnet import SmallConvNet
from lightning_modules.classifier.models.wide_resnet import WideResNet

__all__ = ["ShakeDrop", "SmallConvNet", "WideResNet", "build_model", "pyramidnet_shakedrop"]
