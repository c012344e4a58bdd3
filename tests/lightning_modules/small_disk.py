"""File systems that are really full."""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of its own in memory, mounted at a new folder."""
    folder.mkdir()
    options = ["-o", f"size={kilobytes}k"]
    mounted = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system can only be mounted by root: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> None:
    """Write `filler` until there is no space left, then give back some kilobytes."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as filler:
        while shutil.disk_usage(folder).free:
            filler.write(bytes(4096))
        filler.truncate(max(filler.tell() - 1024 * leave, 0))


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """No file may become larger than so many bytes; for everybody, not only for root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
