"""What ends a run without being anybody's mistake, in the words of the user: a full disk, a process that was lost."""

import errno
import os
import re
from collections.abc import Iterator

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOST = re.compile(r"(connection|socket).*(closed|reset|refused)|broken pipe|gloo|nccl|process ?group|tcpstore", re.I)


def describe_fault(error: BaseException) -> str | None:
    """What happened and what to do, if it was such a fault.

    Args:
        error: What ended the run. `SafeStop` has noted on it, or on what it followed from, how to go on.

    Returns:
        A paragraph; None for everything else.
    """
    errors = list(_chain(error))
    for found in errors:
        if isinstance(found, OSError) and found.errno in _NO_SPACE:
            file = f" to write {found.filename}" if found.filename else ""
            reason = f"There is no space left{file} ({found.strerror}): free some"
            break
        if _world_size() > 1 and isinstance(found, RuntimeError | ConnectionError) and _LOST.search(str(found)):
            reason = (
                f"Another process of this run has ended, and process {os.environ.get('RANK') or _local_rank()} of "
                f"{_world_size()} cannot go on without it: see what that one said last (one that said nothing was "
                "killed, often for using too much memory)"
            )
            break
    else:
        return None
    notes = [note for one in errors for note in getattr(one, "__notes__", [])]
    return f"{reason}, and start again. " + (notes[0] if notes else "Nothing had been saved by this run.")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error after those it followed from."""
    if error.__context__ is not None:
        yield from _chain(error.__context__)
    yield error


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def _local_rank() -> str:
    return os.environ.get("LOCAL_RANK", "0")
