"""Descriptions of faults of the machine: a full disk or memory, a file that cannot be written, a lost process."""

import errno
import re
from collections.abc import Iterator

from lightning_modules.monitoring.run_files import own_rank

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR)
_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|paging file|bad_alloc", re.I)
_LOST = re.compile(r"\b(gloo|nccl|c10d|tcpstore|socketimpl|process ?group)|by peer|connection was likely closed", re.I)


def describe_fault(error: BaseException) -> str | None:
    """Describe a fault and its remedy.

    Args:
        error: The error that ended the run. `SafeStop` has added a note on how to resume to it or to one of its causes.

    Returns:
        A paragraph; None for any other error.
    """
    errors = list(_chain(error))
    full = [one for one in errors if isinstance(one, OSError) and one.errno in _NO_SPACE]
    if full:
        file = next((f" to write {one.filename}" for one in full if one.filename), "")
        reason = f"There is no space left{file} ({full[0].strerror}): make some"
    elif isinstance(error, OSError) and error.errno in _REFUSED:
        reason = f"{error.filename} cannot be opened ({error.strerror}): mend its name or permissions, or take another"
    elif any(isinstance(one, MemoryError) or _NO_MEMORY.search(str(one)) for one in errors):
        reason = (
            "There is not enough memory: lower data.batch_size, data.image_size, model.learner.hessian_rows or "
            "the size of the network"
        )
    elif any(isinstance(one, RuntimeError) and _LOST.search(str(one)) for one in errors):
        reason = (
            f"Another process of this run has ended, and process {own_rank()} cannot go on without it: see "
            "what the other one said last (if nothing, it was killed, perhaps for using too much memory)"
        )
    else:
        return None
    notes = [note for one in errors for note in getattr(one, "__notes__", [])]
    return " ".join([f"{reason}, and start again.", *notes[:1]])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of an error, then the error."""
    if error.__context__ is not None:
        yield from _chain(error.__context__)
    yield error
