"""Export of policies as torchvision transforms and ONNX graphs."""

from augnet.export.onnx import export_onnx
from augnet.export.torchvision import to_torchvision

__all__ = ["export_onnx", "to_torchvision"]
