"""What ends a run without being anybody's mistake, in the words of the user: a full disk, a process that was lost."""

import errno
import re
from collections.abc import Iterator

from pytorch_lightning.utilities import rank_zero_only

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOST = re.compile(r"\b(gloo|nccl|c10d|tcpstore|socketimpl|process ?group)|by peer|connection was likely closed", re.I)


def describe_fault(error: BaseException) -> str | None:
    """What happened and what to do, if it was such a fault.

    Args:
        error: What ended the run. `SafeStop` has noted on it, or on what it followed from, how to go on.

    Returns:
        A paragraph; None for everything else.
    """
    errors = list(_chain(error))
    reason = next((found for found in map(_reason, errors) if found is not None), None)
    if reason is None:
        return None
    notes = [note for one in errors for note in getattr(one, "__notes__", [])]
    return f"{reason}, and start again. {notes[0] if notes else 'Nothing had been saved by this run.'}"


def _reason(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        file = f" to write {error.filename}" if error.filename else ""
        return f"There is no space left{file} ({error.strerror}): make some"
    if isinstance(error, RuntimeError) and _LOST.search(str(error)):
        own = getattr(rank_zero_only, "rank", 0)
        return (
            f"Another process of this run has ended, and process {own} cannot go on without it: see "
            "what the other one said last (if nothing, it was killed, perhaps for using too much memory)"
        )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error after those it followed from."""
    if error.__context__ is not None:
        yield from _chain(error.__context__)
    yield error
