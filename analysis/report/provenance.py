"""Provenance of the numbers of a page: configuration, seed, versions, hardware, and hashes of the files."""

from __future__ import annotations

import hashlib
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..run_folder import OpenedRun
from .blocks import DASH, Block, Preformatted, Section, Table, number

_FILES = ("checkpoints/last.ckpt", "policy.json", "policy.safetensors", "summary.json", "metrics.csv")
_HARDWARE = ("accelerator", "devices", "precision")
_LIBRARIES = ("augfluence", "torch", "pytorch-lightning", "kornia", "numpy", "matplotlib")


def provenance(run: OpenedRun, seconds: float | None) -> Section:
    """Return the provenance section of a run, with its training time in seconds if that is known."""
    trainer: Any = run.config.get("trainer") or {}
    checkpoint = run.folder / _FILES[0]
    facts = [
        ["Folder", str(run.folder.resolve())],
        ["Seed", str(run.seed)],
        ["Epochs asked for", str(trainer.get("max_epochs", DASH))],
        ["Accelerator, devices, precision", ", ".join(str(trainer.get(name, DASH)) for name in _HARDWARE)],
        ["Training time of the run and its controls", DASH if seconds is None else f"{number(seconds)} s"],
        ["Checkpoint written", _in_words(datetime.fromtimestamp(checkpoint.stat().st_mtime, UTC))],
    ]
    hashes = [[name, _sha256(run.folder / name)] for name in _FILES if (run.folder / name).is_file()]
    words = frozenset({0, 1})
    blocks: list[Block] = [
        Table("The run", ["What", "Value"], facts, words),
        Table("Its files, SHA-256", ["File", "Hash"], hashes, words, folded=True),
        Preformatted("Configuration (config.yaml)", (run.folder / "config.yaml").read_text()),
    ]
    return Section("provenance", "Provenance", blocks)


def page_origin() -> str:
    """Return the origin of the page: versions and hardware now, which may differ from those of training."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"This page was made on {_in_words(datetime.now(UTC))} with {versions}, Python {platform.python_version()}, on "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {device}. What it computed itself was "
        "computed there; a run does not record the machine that trained it."
    )


def _in_words(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
