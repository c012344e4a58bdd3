"""Sweeps that train nothing: what is cached, who works on what, and what happens when a worker dies."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sweep_cases import calls, count_calls, fail_at_two, settings

from analysis.exchange_rate.run_cache import RunCache
from analysis.exchange_rate.sweep import sweep, work

HOLD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from sweep_cases import settings
from analysis.exchange_rate.run_cache import RunCache
with RunCache(Path({cache!r})).claim(settings(1, Path({data!r}))[0]) as ours:
    print(ours, flush=True)
    time.sleep(600)
"""


def test_a_second_call_trains_nothing(tmp_path: Path) -> None:
    runs, cache = settings(3, tmp_path / "data"), RunCache(tmp_path / "runs")
    first = sweep(runs, cache, show_progress=False, train=count_calls)
    assert first == [{"accuracy": 0.01}, {"accuracy": 0.02}, {"accuracy": 0.03}]
    assert sweep(list(reversed(runs)), cache, show_progress=False, train=count_calls) == first[::-1]
    assert calls(tmp_path / "data") == [1, 2, 3]
    assert not list((tmp_path / "runs" / "locks").iterdir())


def test_a_sweep_goes_on_after_a_failure(tmp_path: Path) -> None:
    runs, cache = settings(3, tmp_path / "data"), RunCache(tmp_path / "runs")
    with pytest.raises(ValueError, match="the second run has no data"):
        sweep(runs, cache, show_progress=False, train=fail_at_two)
    assert cache.read(runs[0]) == {"accuracy": 0.01}
    assert not list((tmp_path / "runs" / "locks").iterdir())  # given back
    sweep(runs, cache, show_progress=False, train=count_calls)
    assert calls(tmp_path / "data") == [1, 2, 3]


def test_processes_share_the_work_and_tell_a_failure(tmp_path: Path) -> None:
    runs, cache = settings(6, tmp_path / "data"), RunCache(tmp_path / "runs")
    with pytest.raises(ValueError, match="the second run has no data"):
        sweep(runs, cache, workers=2, show_progress=False, train=fail_at_two)
    results = sweep(runs, cache, show_progress=False, train=count_calls)
    assert [result["accuracy"] for result in results] == [size / 100 for size in range(1, 7)]
    assert calls(tmp_path / "data") == [1, 2, 3, 4, 5, 6]


def test_many_workers_train_each_run_once(tmp_path: Path) -> None:
    runs, cache = settings(20, tmp_path / "data"), RunCache(tmp_path / "runs")
    workers = [threading.Thread(target=work, args=(runs, cache, 1, count_calls)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert calls(tmp_path / "data") == list(range(1, 21))


def test_a_killed_worker_leaves_a_lock_that_is_taken_over(tmp_path: Path) -> None:
    run, cache = settings(1, tmp_path / "data")[0], RunCache(tmp_path / "runs")
    script = HOLD.format(tests=str(Path(__file__).parent), cache=str(cache.folder), data=str(tmp_path / "data"))
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "True\n"
        with cache.claim(run) as ours:
            assert not ours  # it is alive
    finally:
        worker.kill()
        worker.communicate()
    assert [lock.name for lock in (tmp_path / "runs" / "locks").iterdir()] == [run.key]
    with cache.claim(run) as ours:
        assert ours


def test_a_silent_worker_of_another_machine_is_stale_after_a_while(tmp_path: Path) -> None:
    run, cache = settings(1, tmp_path / "data")[0], RunCache(tmp_path / "runs", stale_after=100)
    lock = tmp_path / "runs" / "locks" / run.key
    lock.parent.mkdir(parents=True)
    lock.write_text("elsewhere 1")
    for age, stale in ((50, False), (150, True)):
        os.utime(lock, (time.time() - age,) * 2)
        with cache.claim(run) as ours:
            assert ours == stale


def test_a_worker_shows_that_it_is_alive(tmp_path: Path) -> None:
    run, cache = settings(1, tmp_path / "data")[0], RunCache(tmp_path / "runs", stale_after=0.2)
    lock = tmp_path / "runs" / "locks" / run.key
    with cache.claim(run):
        os.utime(lock, (0, 0))
        waited = 0.0
        while lock.stat().st_mtime == 0 and waited < 30:
            time.sleep(0.02)
            waited += 0.02
        assert lock.stat().st_mtime > 0
    assert not lock.exists()


def test_a_damaged_result_is_said(tmp_path: Path) -> None:
    run, cache = settings(1, tmp_path / "data")[0], RunCache(tmp_path / "runs")
    cache.write(run, {"accuracy": 0.5})
    file = tmp_path / "runs" / f"{run.key}.json"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(ValueError, match="delete it, and the run is repeated"):
        sweep([run], cache, show_progress=False, train=count_calls)


def test_wrong_numbers_of_workers_are_refused(tmp_path: Path) -> None:
    for workers, threads in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            sweep([], RunCache(tmp_path), workers, threads, show_progress=False)


def test_ray_trains_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    runs, cache = settings(4, tmp_path / "data"), RunCache(tmp_path / "runs")
    cache.write(runs[0], {"accuracy": 0.5})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        results = sweep(runs, cache, workers=2, scheduler="ray", show_progress=False, train=count_calls)
    assert [result["accuracy"] for result in results] == [0.5, 0.02, 0.03, 0.04]
    assert calls(tmp_path / "data") == [2, 3, 4]


def test_ray_that_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"augfluence\[ray\]"):
        sweep(settings(1, tmp_path), RunCache(tmp_path), scheduler="ray", show_progress=False, train=count_calls)
