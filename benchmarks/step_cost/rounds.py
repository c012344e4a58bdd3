"""Rounds: every arm trains one block, one after the other, while all others wait.

The speed of a machine drifts; so blocks of one round are compared with each other, and with no other.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from rich.progress import track

from benchmarks.step_cost.task import Task

Row = dict[str, Any]


class Worker:
    """A process that trains one arm, block by block.

    Args:
        task: What it trains.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.step_cost.worker", json.dumps(asdict(task))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(task.threads)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def receive(self) -> dict[str, Any]:
        """Return the next message of the process.

        Raises:
            RuntimeError: If it has ended.
        """
        lines = self.process.stdout or ()
        for line in lines:
            if line.startswith("{"):  # libraries print, too
                message: dict[str, Any] = json.loads(line)
                return message
        self.errors.seek(0)
        raise RuntimeError(f"{self.task.arm} ended early: {self.errors.read()[-2000:]}")

    def ask(self) -> dict[str, Any]:
        """Let it do the next thing, and receive what it says after it."""
        if self.process.stdin is not None:
            print("go", file=self.process.stdin, flush=True)
        return self.receive()


def measure(tasks: list[Task]) -> list[Row]:
    """Train all tasks in turn.

    Args:
        tasks: Of one group, with the same number of rounds.

    Returns:
        For each its fields, `block_steps`, the `block_seconds` of every round, and in MiB: `baseline` (before the model
        is built), `peak`, and `loaders` (what processes that load the data have for themselves).
    """
    seconds: list[list[float]] = [[] for _ in tasks]
    with ExitStack() as running:
        workers = [running.enter_context(Worker(task)) for task in tasks]
        for worker in workers:
            worker.receive()
        for worker in workers:  # one at a time: processes that share a core wait for each other's threads
            worker.ask()
        for number in track(range(tasks[0].rounds), tasks[0].group):
            for place in range(len(tasks)):
                turn = (place + number) % len(tasks)
                seconds[turn].append(workers[turn].ask()["seconds"])
        figures = [worker.receive() for worker in workers]
    return [
        asdict(task) | {"block_steps": task.block_steps, "block_seconds": found} | figure
        for task, found, figure in zip(tasks, seconds, figures, strict=True)
    ]
