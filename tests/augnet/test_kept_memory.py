"""Freed memory is reused: counted in page faults of processes that do nothing else."""

import ctypes
import platform
import subprocess
import sys

import pytest

from augnet.memory import keep_memory

PROGRAM = """
import resource, sys
import torch
from augnet.memory import keep_memory

torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_memory()
images = torch.rand(64, 3, 224, 224)  # 38 MB
for _ in range(3):
    images.add(1).mul(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    images.add(1).mul(2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked")
def test_pages_are_touched_once() -> None:
    assert page_faults("keep") < 0.05 * page_faults("leave")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_memory()
