"""Results of runs on disk, one JSON file a run, and who is working on which.

Several processes, also on several machines, may share the folder. A worker claims a run by creating its lock file,
which only one can, and touches it while it works. A lock that nobody has touched for long, or whose process on this
machine is gone, is stale and taken over. Results are written atomically and do not depend on who computes them: should
two workers take over one lock at the same instant, a run is trained twice and nothing is lost.
"""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from augnet.atomic_file import write_atomically

Result = dict[str, Any]


class Keyed(Protocol):
    """A dataclass of all that the result of a run depends on, with a hash of it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> str:
        """The hash."""


@dataclass(frozen=True)
class RunCache:
    """The folder of a sweep.

    Args:
        folder: Where the results and locks are; made if needed.
        stale_after: Seconds without a sign of life until a lock is stale.
    """

    folder: Path
    stale_after: float = 300.0

    def has(self, setting: Keyed) -> bool:
        """Whether the result of a run is there."""
        return self._result(setting).is_file()

    def read(self, setting: Keyed) -> Result | None:
        """The result of a run, None if it is not there.

        Raises:
            ValueError: If its file is damaged.
        """
        path = self._result(setting)
        try:
            content = json.loads(path.read_text())
            result: Result = content["result"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no result of a run ({error}): delete it, and the run is repeated.") from error
        return result

    def write(self, setting: Keyed, result: Result) -> None:
        """Keep the result of a run, with its setting."""
        content = {"setting": asdict(setting), "result": result}
        write_atomically(self._result(setting), json.dumps(content, indent=1, allow_nan=False) + "\n")

    @contextlib.contextmanager
    def claim(self, setting: Keyed) -> Iterator[bool]:
        """Claim a run for the time of the context.

        Yields:
            Whether it is ours; false while another worker is at it.
        """
        lock = self.folder / "locks" / setting.key
        lock.parent.mkdir(parents=True, exist_ok=True)
        if not (_create(lock) or (self._is_stale(lock) and _take_over(lock))):
            yield False
            return
        done = threading.Event()
        beat = threading.Thread(target=self._keep_alive, args=(lock, done), daemon=True)
        beat.start()
        try:
            yield True
        finally:
            done.set()
            beat.join()
            lock.unlink(missing_ok=True)

    def _result(self, setting: Keyed) -> Path:
        return self.folder / f"{setting.key}.json"

    def _keep_alive(self, lock: Path, done: threading.Event) -> None:
        while not done.wait(self.stale_after / 10):
            with contextlib.suppress(FileNotFoundError):
                os.utime(lock)

    def _is_stale(self, lock: Path) -> bool:
        try:
            owner, touched = lock.read_text(), lock.stat().st_mtime
        except FileNotFoundError:
            return False  # given back this moment: the next round finds the result
        machine, _, process = owner.rpartition(" ")
        if machine == _machine() and process.isdigit() and not _is_alive(int(process)):
            return True
        return _clock_of(lock.parent) - touched > self.stale_after


def _create(lock: Path) -> bool:
    """Create the lock file, in full or not at all; false if it is there."""
    draft = lock.with_name(f".{lock.name}.{_machine_safe()}.{os.getpid()}.{threading.get_ident()}")
    draft.write_text(f"{_machine()} {os.getpid()}")
    try:
        os.link(draft, lock)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _take_over(lock: Path) -> bool:
    lock.unlink(missing_ok=True)
    return _create(lock)


def _machine() -> str:
    """This machine and, where there are such, its container: where process numbers have a meaning."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}"


def _machine_safe() -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in _machine())


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _clock_of(folder: Path) -> float:
    """The time now by the clock that stamps files in a folder, which may be a file server's."""
    probe = folder / f".clock.{_machine_safe()}.{os.getpid()}.{threading.get_ident()}"
    probe.touch()
    os.utime(probe)
    now = probe.stat().st_mtime
    probe.unlink()
    return now
