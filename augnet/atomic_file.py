"""Atomic writing of files: a reader, or a crash during writing, finds the old content or the new one in full."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to a temporary file beside `path`, flush it to disk, and rename it to `path`.

    The folder is made if needed.

    Raises:
        OSError: If the disk is full or the folder cannot be written; the old file is then untouched.
    """
    write_together({Path(path): content})


def write_together(files: Mapping[Path, str | bytes]) -> None:
    """Write files that belong together as `write_atomically` does; all are on disk before the first is renamed.

    Raises:
        OSError: If the disk is full or a folder cannot be written; the old files are then untouched.
    """
    staged: dict[str, Path] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            staged[temporary] = path
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
        for temporary, path in staged.items():
            os.replace(temporary, path)
    except BaseException as error:
        for temporary in staged:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:  # name the file, not the temporary one
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
