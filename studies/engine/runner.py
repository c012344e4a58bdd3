"""Make the results of many runs: in this process or in several, which may be those of several calls."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager

import torch
from filelock import Timeout

from lightning_modules.monitoring.progress import progress_bar
from studies.engine.cache import Cache
from studies.engine.setting import Result, Setting

_POLL = 1.0  # seconds
Attempts = Callable[[Sequence[Setting]], Iterator[bool]]  # tries each run, and says whether it is done


def train(
    settings: Sequence[Setting], cache: Cache, workers: int = 1, threads: int = 1, show_progress: bool = True
) -> list[Result]:
    """Make the results that are not in the cache.

    Args:
        settings: The runs.
        cache: Holds the results; other callers with the same folder share the work.
        workers: Processes that are started here; with 1 the runs are made in this process.
        threads: CPU threads of each.
        show_progress: Whether to show a progress bar.

    Returns:
        All results, in the order of the settings.

    Raises:
        ValueError: If `workers` or `threads` is below 1, or from a run; results that were made before are kept.
    """
    if workers < 1 or threads < 1:
        raise ValueError(f"workers and threads must be at least 1, found {workers} and {threads}.")
    with progress_bar(show_progress) as bar:
        task = bar.add_task("runs", total=len(settings))
        bar.update(task, completed=sum(map(cache.has, settings)))
        missing = [setting for setting in settings if not cache.has(setting)]
        if missing:
            with _workers(cache, workers, threads) as attempts:
                while missing:
                    for _ in attempts(missing):
                        bar.update(task, completed=sum(map(cache.has, settings)))
                    if missing := [setting for setting in missing if not cache.has(setting)]:
                        time.sleep(_POLL)  # other processes are making these
    return [cache.obtain(setting) for setting in settings]


@contextmanager
def _workers(cache: Cache, workers: int, threads: int) -> Iterator[Attempts]:
    """Give a function that tries runs, in this process or in several."""
    if workers == 1:
        torch.set_num_threads(threads)
        yield lambda settings: (_attempt(setting, cache) for setting in settings)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, torch.set_num_threads, (threads,))
    try:
        yield lambda settings: (
            done.result() for done in as_completed([pool.submit(_attempt, setting, cache) for setting in settings])
        )
    finally:
        pool.shutdown(cancel_futures=True)


def _attempt(setting: Setting, cache: Cache) -> bool:
    """Make a run; return false if another process is making it."""
    try:
        cache.obtain(setting, patience=0.0)
    except Timeout:
        return False
    return True
