"""The machine and the versions that a measurement was made with."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "torchvision", "kornia", "pytorch-lightning")


def environment(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the processor, the graphics card if there is one, and the versions of Python and of packages."""
    card = {"graphics": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {"processor": processor(), **card, "python": platform.python_version(), **versions(packages)}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package, or that it is not installed."""
    return {package: _version(package) for package in packages}


def one_thread() -> str:
    """Return the machine of a measurement that takes one of its cores."""
    return f"{platform.machine()}, {os.cpu_count()} cores, 1 thread used"


def processor() -> str:
    """Return the name of the processor: it decides about the seconds more than anything else."""
    names = Path("/proc/cpuinfo")
    for line in names.read_text().splitlines() if names.exists() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def device_name(device: torch.device) -> str:
    """Return the name of the processor or graphics card that a device is."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
