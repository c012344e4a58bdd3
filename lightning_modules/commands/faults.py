"""Descriptions of faults that are not mistakes of the user: a full disk, a lost process."""

import errno
import re
from collections.abc import Iterator

from lightning_modules.monitoring.run_files import own_rank

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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
