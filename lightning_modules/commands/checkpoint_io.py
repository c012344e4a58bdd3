"""Atomic replacement of checkpoints: after a full disk or a crash the previous one is intact."""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from augnet.atomic_file import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint plugin that writes beside the old checkpoint, flushes to disk and renames.

    Lightning's plugin writes into the folder for temporary files first; if that is another file system, it then copies
    over the old checkpoint, which a full disk destroys. URLs are handled by Lightning.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace a checkpoint at a path, or at a URL for which `fsspec` has a file system.

        Raises:
            OSError: If the disk is full or the folder cannot be written; the old file is then intact.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(path, buffer.getvalue())
