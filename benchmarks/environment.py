"""The machine and the versions that a measurement was made with."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "kornia", "pytorch-lightning")


def environment(packages: Iterable[str] = PACKAGES, **asked: Any) -> dict[str, Any]:
    """Return what a measurement depends on beside its code, as plain values.

    Args:
        packages: Names of packages; one that is missing is said to be not installed.
        **asked: Further entries, such as the number of threads.

    Returns:
        `machine` (processor and cores), `graphics` (the card, if there is one), `python`, and the version of each
        package.
    """
    card = {"graphics": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    machine = f"{processor()}, {os.cpu_count()} cores"
    versions = {package: _version(package) for package in packages}
    return {"machine": machine, **card, "python": platform.python_version(), **versions, **asked}


def processor() -> str:
    """Return the name of the processor."""
    names = Path("/proc/cpuinfo")
    for line in names.read_text().splitlines() if names.exists() else []:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
