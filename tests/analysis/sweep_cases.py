"""Settings of a sweep that trains nothing, and what stands in for training."""

import time
from pathlib import Path

from analysis.exchange_rate.run_cache import Result
from analysis.exchange_rate.setting import Measurement, Setting, Training


def settings(count: int, folder: Path) -> list[Setting]:
    """Runs whose `path` is a folder in which `count_calls` leaves a file for each call."""
    return [Setting(str(folder), size, "none", 0, 0, Training(), Measurement()) for size in range(1, count + 1)]


def count_calls(setting: Setting) -> Result:
    """Leave a file for each call, and return the size."""
    Path(setting.path).mkdir(exist_ok=True)
    (Path(setting.path) / f"{setting.size}-{time.monotonic_ns()}").touch()
    return {"accuracy": setting.size / 100}


def fail_at_two(setting: Setting) -> Result:
    """Refuse the second run."""
    if setting.size == 2:
        raise ValueError("the second run has no data")
    return count_calls(setting)


def calls(folder: Path) -> list[int]:
    """The sizes that `count_calls` was called with."""
    return sorted(int(file.name.split("-")[0]) for file in folder.iterdir()) if folder.is_dir() else []
