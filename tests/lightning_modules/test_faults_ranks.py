"""Two gloo processes, of which one dies or is asked to stop: the run ends at once, and says why and how to go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import command_in, start, steps_of, tiny, with_callback

STEPS = 7  # of an epoch with two processes
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")

pytestmark = pytest.mark.slow


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a run printed; all its processes must have ended soon after the first one did."""
    printed = process.communicate(timeout=300)
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return printed
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("a process of the run is still there")


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("rank", "launcher", "code"),
    [(1, (sys.executable,), 1), (0, (sys.executable,), -signal.SIGKILL), (1, TORCHRUN, 1)],
    ids=["second", "first", "torchrun"],
)
def test_a_process_that_is_killed_ends_the_run(rank: int, launcher: tuple[str, ...], code: int, tmp_path: Path) -> None:
    killer = with_callback("KillAt", step=STEPS + 5, rank=rank)
    process = start(*tiny(tmp_path, *TWO, *killer), launcher=launcher, start_new_session=True)
    _, message = finished(process)
    assert process.returncode == code
    (line,) = [line for line in message.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: Another process of this run has ended, and process {1 - rank} cannot go on")
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert steps_of(last(tmp_path / "digits")) == STEPS
    if launcher != TORCHRUN:
        assert "Traceback" not in message
    if rank == 1 and launcher != TORCHRUN:
        resume_as_told(message, tmp_path)


def resume_as_told(message: str, folder: Path) -> None:
    """The command in the message, with two processes again, takes the run to its end; here also to a control."""
    process = start(*command_in(message), "--trainer.callbacks=[]", "--run.compare=[plain]", start_new_session=True)
    _, message = finished(process)
    assert process.returncode == 0, message
    assert sorted(path.name for path in folder.iterdir()) == ["digits", "digits-2"]
    assert steps_of(last(folder / "digits-2")) == 2 * STEPS
    assert {path.name for path in (folder / "digits-2").iterdir() if path.is_dir()} == {"checkpoints", "plain"}
    assert {"learned", "plain"} == set(json.loads((folder / "digits-2" / "summary.json").read_text())["seconds_by_arm"])


def test_a_signal_to_one_process_stops_both_at_the_same_step(tmp_path: Path) -> None:
    killer = with_callback("SignalAt", step=STEPS + 5, rank=1, number=int(signal.SIGTERM))
    process = start(*tiny(tmp_path, *TWO, *killer), start_new_session=True)
    _, message = finished(process)
    assert process.returncode == 143, message
    assert "Traceback" not in message
    assert message.count("Interrupted by SIGTERM") == 1
    assert steps_of(last(tmp_path / "digits")) == STEPS + 6
