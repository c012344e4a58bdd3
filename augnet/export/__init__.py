"""A policy for use elsewhere: as a torchvision transform, as an ONNX graph."""

from augnet.export.onnx import export_onnx
from augnet.export.torchvision import to_torchvision

__all__ = ["export_onnx", "to_torchvision"]
