"""SIGINT (Ctrl-C) and SIGTERM (`timeout`, SLURM, Docker) as an exception, at once or put off to the end of a step."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"\nStopping after this step, with a checkpoint; once more stops at once.\n"
Handler = Callable[[int, FrameType | None], Any]


class Interrupted(SystemExit):
    """The run was asked to stop; the process ends with 128 + the number of the signal, as shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"Interrupted by {signal.Signals(self.number).name}."


@contextmanager
def interruptible() -> Iterator[None]:
    """Both signals raise `Interrupted` inside; in worker processes that were forked inside, Ctrl-C is ignored."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    previous = _install(stop)
    try:
        yield
    finally:
        _restore(previous)


class PutOff:
    """Notes the first signal, until somebody asks; the second one is not put off.

    Attributes:
        received: The number of the first signal; 0 if there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._previous: dict[int, Any] = {}

    def start(self) -> None:
        """From now on."""
        self.received = 0
        self._previous = _install(self._note)

    def stop(self) -> None:
        """Signals do what they did before `start`."""
        _restore(self._previous)
        self._previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            self.stop()
            raise Interrupted(number)
        self.received = number
        os.write(2, _NOTICE)  # print may be under way already


def _install(handler: Handler) -> dict[int, Any]:
    """Let the main process handle both signals; the handlers that were there before."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # only the main thread may
    main_process = os.getpid()

    def here(number: int, frame: FrameType | None) -> None:
        if os.getpid() == main_process:
            handler(number, frame)
        elif number == signal.SIGTERM:
            os._exit(128 + number)

    wanted = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # as with nohup
    return {number: signal.signal(number, here) for number in wanted}


def _restore(previous: dict[int, Any]) -> None:
    for number, handler in previous.items():
        signal.signal(number, handler)
