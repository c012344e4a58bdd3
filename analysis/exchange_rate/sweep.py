"""Train the runs of a sweep: here, in several processes, on several machines that share a folder, or by Ray.

Every way works on the same cache: a run that is there is not repeated, a sweep that was killed goes on where it was.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from typing import Any, Literal

import torch

from lightning_modules.commands.terminal import quieten
from lightning_modules.monitoring.progress import progress_bar

from .run_cache import Keyed, Result, RunCache
from .training import train_and_measure

Scheduler = Literal["local", "ray"]
Train = Callable[[Any], Result]  # of one kind of setting
_POLL = 1.0  # seconds


def sweep(
    settings: Sequence[Keyed],
    cache: RunCache,
    workers: int = 1,
    threads: int = 1,
    scheduler: Scheduler = "local",
    show_progress: bool = True,
    train: Train = train_and_measure,
) -> list[Result]:
    """Train what is not in the cache, and return all results in the order of the settings.

    Args:
        settings: The runs.
        cache: Where the results are.
        workers: Processes at a time, started here; other callers with the same folder share the work.
        threads: CPU threads of each.
        scheduler: `local` processes, or `ray`: tasks on the Ray cluster that `RAY_ADDRESS` names, or on a local one of
            `workers` tasks; the folder must be the same on all its machines.
        show_progress: Whether to show a progress bar.
        train: What makes a result of a setting.

    Raises:
        ValueError: If `workers` or `threads` is below 1, or what a run says is wrong with it; the other results stay.
    """
    if workers < 1 or threads < 1:
        raise ValueError(f"workers and threads must be at least 1, found {workers} and {threads}.")
    with progress_bar(show_progress) as bar:
        task = bar.add_task("runs", total=len(settings))

        def report() -> None:
            bar.update(task, completed=sum(cache.has(setting) for setting in settings))

        report()
        if any(not cache.has(setting) for setting in settings):
            run = {"local": _in_processes, "ray": _on_ray}[scheduler]
            run(settings, cache, workers, threads, train, report)
        report()
    return [result for setting in settings if (result := cache.read(setting)) is not None]


def work(
    settings: Sequence[Keyed],
    cache: RunCache,
    threads: int = 1,
    train: Train = train_and_measure,
    report: Callable[[], None] = lambda: None,
) -> None:
    """Claim and train runs until all results are there; waits for those that other workers are at.

    Args:
        settings: The runs.
        cache: Where the results are.
        threads: CPU threads.
        train: What makes a result of a setting.
        report: Called after each run.
    """
    quieten()
    torch.set_num_threads(threads)
    left = [setting for setting in settings if not cache.has(setting)]
    while left:
        for setting in left:
            with cache.claim(setting) as ours:
                if ours and not cache.has(setting):
                    cache.write(setting, train(setting))
            report()
        left = [setting for setting in left if not cache.has(setting)]
        if left:
            time.sleep(_POLL)


def _in_processes(
    settings: Sequence[Keyed],
    cache: RunCache,
    workers: int,
    threads: int,
    train: Train,
    report: Callable[[], None],
) -> None:
    if workers == 1:
        work(settings, cache, threads, train, report)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = {pool.submit(work, settings, cache, threads, train) for _ in range(workers)}
        while running:
            done, running = wait(running, timeout=_POLL, return_when=FIRST_EXCEPTION)
            report()
            for finished in done:
                finished.result()


def _on_ray(
    settings: Sequence[Keyed],
    cache: RunCache,
    workers: int,
    threads: int,
    train: Train,
    report: Callable[[], None],
) -> None:
    try:
        import ray
    except ImportError as error:
        raise ValueError("scheduler: ray is not installed: pip install 'augfluence[ray]', or take local.") from error
    started = not ray.is_initialized()
    if started:
        _start(ray, workers * threads)
    try:
        remote = ray.remote(num_cpus=threads, max_retries=1)(work)
        running = [remote.remote([setting], cache, threads, train) for setting in settings if not cache.has(setting)]
        while running:
            done, running = ray.wait(running, timeout=_POLL)
            report()
            ray.get(done)
    finally:
        if started:
            ray.shutdown()


def _start(ray: Any, cpus: int) -> None:
    """Connect to the cluster that `RAY_ADDRESS` names, or start one here."""
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
