"""What W&B's own reader finds in the files of an offline run."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any


def summary_of(folder: Path) -> dict[str, Any]:
    """Configuration and the last value of every key that the run in a folder logged."""
    found: dict[str, Any] = json.loads(_inspect(folder, "--json", "--summary"))
    return found


def records_of(folder: Path, kind: str) -> list[Any]:
    """The records of a kind, in order."""
    records = [json.loads(line) for line in _inspect(folder, "--json").splitlines()]
    return [record[kind] for record in records if record["type"] == kind]


def logged_keys(folder: Path) -> set[str]:
    """Keys that the run in a folder logged, without those that W&B adds."""
    return {key for key in summary_of(folder)["summary"] if not key.startswith("_")}


@cache  # reading a run takes a second; it is read when it has ended
def _inspect(folder: Path, *options: str) -> str:
    (run,) = folder.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, str(run)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
