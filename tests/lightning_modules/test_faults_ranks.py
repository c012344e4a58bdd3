"""Two gloo processes, of which one dies or is asked to stop: the run ends at once, and tells why and how to resume."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tiny_runs import command_in, start, steps_of, tiny, with_callback

STEPS = 7  # of an epoch with two processes
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]
ALONE = (sys.executable,)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")

pytestmark = pytest.mark.slow


def free_ports(count: int) -> list[int]:
    """Different ports: runs that look for one at the same time may find the same."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def started(*runs: tuple[list[str], tuple[str, ...]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Runs of two processes, by arguments and launcher, side by side; whatever is left in the end is killed."""
    processes = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            for port, (arguments, launcher) in zip(free_ports(len(runs)), runs, strict=True):
                patch.setenv("MASTER_PORT", str(port))  # torchrun sets one of its own
                processes.append(start(*arguments, launcher=launcher, start_new_session=True))
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return code and error output of a run; all its processes must have ended soon after the first one."""
    _, message = process.communicate(timeout=300)
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return process.returncode, message
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("a process of the run is still there")


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def check_killed(message: str, folder: Path, other: int) -> None:
    """The process that is left names the reason once, and the checkpoint of the first epoch is there."""
    (line,) = [line for line in message.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: Another process of this run has ended, and process {other} cannot go on")
    assert [path.name for path in folder.iterdir()] == ["digits"]
    assert steps_of(last(folder / "digits")) == STEPS


@pytest.mark.long
def test_a_process_that_is_killed_or_asked_to_stop_ends_the_run(tmp_path: Path) -> None:
    """All at a time, two processes each: they wait for one another most of the time."""
    folders = [tmp_path / name for name in ("second", "first", "torchrun", "signal")]
    kills = [with_callback("KillAt", step=STEPS + 5, rank=rank) for rank in (1, 0, 1)]
    stop = with_callback("SignalAt", step=STEPS + 5, rank=1, number=int(signal.SIGTERM))
    callbacks = [*kills, stop]
    launchers = [ALONE, ALONE, TORCHRUN, ALONE]
    arguments = [tiny(folder, *TWO, *callback) for folder, callback in zip(folders, callbacks, strict=True)]
    with started(*zip(arguments, launchers, strict=True)) as runs:
        second, first, torchrun, stopped = (finished(run) for run in runs)
    assert [code for code, _ in (second, first, torchrun)] == [1, -signal.SIGKILL, 1]
    for (_, message), folder, other in zip((second, first, torchrun), folders, (0, 1, 0), strict=False):
        check_killed(message, folder, other)
    assert "Traceback" not in second[1] + first[1]  # torchrun prints one of its own

    code, message = stopped
    assert code == 143, message
    assert "Traceback" not in message
    assert message.count("Interrupted by SIGTERM") == 1
    assert steps_of(last(folders[3] / "digits")) == STEPS + 6  # both at the same step

    resume_as_told(second[1], folders[0])


def resume_as_told(message: str, folder: Path) -> None:
    """The command in the message, with two processes again, takes the run to its end; here also to a control."""
    again = [*command_in(message), "--trainer.callbacks=[]", "--run.compare=[plain]"]
    with started((again, ALONE)) as (process,):
        code, message = finished(process)
    assert code == 0, message
    assert sorted(path.name for path in folder.iterdir()) == ["digits", "digits-2"]
    assert steps_of(last(folder / "digits-2")) == 2 * STEPS
    assert {path.name for path in (folder / "digits-2").iterdir() if path.is_dir()} == {"checkpoints", "plain"}
    assert {"learned", "plain"} == set(json.loads((folder / "digits-2" / "summary.json").read_text())["seconds_by_arm"])
