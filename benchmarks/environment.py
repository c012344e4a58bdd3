"""What a benchmark ran on."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The version of each package, or that it is not installed."""
    return {package: _version(package) for package in packages}


def one_thread() -> str:
    """The machine of a benchmark that takes one of its cores."""
    return f"{platform.machine()}, {os.cpu_count()} cores, 1 thread used"


def processor() -> str:
    """The name of the processor: it decides about the seconds more than anything else."""
    names = Path("/proc/cpuinfo")
    for line in names.read_text().splitlines() if names.exists() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def device_name(device: torch.device) -> str:
    """The name of the processor or graphics card that a device is."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
