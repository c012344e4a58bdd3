"""Checkpoints that are replaced as a whole: a full disk or a crash leaves the one before."""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from augnet.atomic_file import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old checkpoint, flushes to disk and renames.

    Lightning's own writes into the folder for temporary files first; where that is another file system, it then copies
    over the old checkpoint, and a full disk destroys it. URLs are left to Lightning.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace a file.

        Args:
            checkpoint: What to save.
            path: A path, or a URL for which `fsspec` has a file system.
            storage_options: Refused by Lightning.

        Raises:
            OSError: If the disk is full or the folder cannot be written; the old file is then untouched.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(path, buffer.getvalue())
