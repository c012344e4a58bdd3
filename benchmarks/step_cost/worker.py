"""One arm in a process of its own: `python -m benchmarks.step_cost.worker '{"arm": ..., ...}'`.

It waits for a line before each step, and prints a line of JSON after it: `ready` when it is loaded, `warm`
when it has trained (by `Trainer.fit`) up to the first block, then the `seconds` of each block, and unasked its memory.
A short training runs first, so that libraries that are loaded late are not counted.
"""

import json
import os
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from multiprocessing import active_children
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.memory import memory, private, reset_peak
from benchmarks.step_cost.arms import ARMS, Run
from benchmarks.step_cost.task import LEAD_IN, Task


def say(**message: Any) -> None:
    """Tell the parent."""
    print(json.dumps(message), flush=True)


def wait() -> None:
    """Wait for the parent.

    Raises:
        RuntimeError: If it has ended.
    """
    if not sys.stdin.readline():
        raise RuntimeError(_ALONE)


_ALONE = "the process that compares the arms has ended"


class Blocks(pl.Callback):
    """Stops the training in front of every block and measures it, from the start of one batch to that of another.

    What follows a step, a policy update among it, and the loading of the next batch are so in it.

    Args:
        task: How long the blocks are.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.began, self.parent = 0.0, os.getppid()
        self.loaders = 0.0  # most memory of the processes that load, MiB

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        """Wait in front of a block, and measure it."""
        now = time.perf_counter()
        if os.getppid() != self.parent:
            raise RuntimeError(_ALONE)
        block, place = divmod(index - self.task.warm_up, LEAD_IN + self.task.block_steps)
        if block < 0:
            return
        if place == 0:
            self.loaders = max(self.loaders, sum(private(child.pid or 0) for child in active_children()))
            say(**({"warm": True} if block == 0 else {"seconds": now - self.began}))
            if block < self.task.rounds:
                wait()
        elif place == LEAD_IN:
            self.began = time.perf_counter()


def fit(run: Run, task: Task, blocks: Blocks | None = None) -> None:
    """Train for one epoch, as quietly as people do when they measure."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            precision=task.precision,
            max_epochs=1,
            limit_train_batches=None if blocks else 2,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[*([blocks] if blocks else []), *run.callbacks],
            default_root_dir=folder,
        )
        trainer.fit(run.module, run.data)


def main(task: Task) -> None:
    """Train the arm."""
    torch.set_num_threads(task.threads)
    say(ready=True)
    wait()
    build, small = ARMS[task.arm].build, replace(task, batch=4, rounds=1, steps=1, interval=1, influence=2)
    pl.seed_everything(0, verbose=False)
    fit(build(small), small)
    pl.seed_everything(0, verbose=False)
    reset_peak()
    baseline, blocks = memory("VmRSS"), Blocks(task)
    fit(build(task), task, blocks)
    say(baseline=baseline, peak=memory("VmHWM"), loaders=blocks.loaders)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Task(**json.loads(sys.argv[1])))
