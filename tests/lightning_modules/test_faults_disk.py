"""Disks that are really full: what was saved before stays, and the run says what to do."""

import csv
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest
import torch
from killer import FillDisk
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from small_disk import fill, small_disk, small_files
from test_exact_resume import same
from tiny_runs import STEPS, command_in, end_of, start, steps_of, tiny, with_callback
from two_ways import WAYS

from augnet import AugNet, load_policy, save_policy
from lightning_modules.callbacks import ExactResume, SafeStop
from lightning_modules.commands.checkpoint_io import AtomicCheckpointIO
from lightning_modules.commands.cli import main
from lightning_modules.monitoring.metrics_file import AtomicCSVLogger
from lightning_modules.monitoring.plots import save_figure

SMALL, LARGE = {"weights": torch.arange(100.0)}, {"weights": torch.zeros(300_000)}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A megabyte."""
    with small_disk(tmp_path / "disk", kilobytes=1024) as folder:
        yield folder


# Checkpoints


def check_kept(path: Path) -> None:
    """The small checkpoint is there, and nothing else but what fills the disk."""
    assert torch.equal(torch.load(path, weights_only=True)["weights"], SMALL["weights"])
    assert {one.name for one in path.parent.iterdir()} <= {path.name, "filler"}


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(disk: Path) -> None:
    path, plugin = disk / "last.ckpt", AtomicCheckpointIO()
    plugin.save_checkpoint(SMALL, path)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left") as caught:
            plugin.save_checkpoint(LARGE, path)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        check_kept(path)
    fill(disk)
    with pytest.raises(OSError, match="No space left"):
        plugin.save_checkpoint(SMALL, path)
    check_kept(path)
    (disk / "filler").unlink()
    plugin.save_checkpoint({"weights": torch.ones(3)}, path)
    assert plugin.load_checkpoint(path)["weights"].tolist() == [1, 1, 1]


def test_a_file_that_may_not_grow_leaves_the_one_before(tmp_path: Path) -> None:
    path, plugin = tmp_path / "last.ckpt", AtomicCheckpointIO()
    plugin.save_checkpoint(SMALL, path)
    with small_files(100_000), pytest.raises(OSError, match="too large") as caught:
        plugin.save_checkpoint(LARGE, path)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    check_kept(path)


def test_addresses_are_left_to_lightning() -> None:
    plugin = AtomicCheckpointIO()
    plugin.save_checkpoint(SMALL, "memory://folder/last.ckpt")
    assert torch.equal(plugin.load_checkpoint("memory://folder/last.ckpt")["weights"], SMALL["weights"])
    with pytest.raises(TypeError, match="storage_options"):
        plugin.save_checkpoint(SMALL, "memory://folder/last.ckpt", storage_options={})
    assert not Path("memory:").exists()


# Policies and pictures


def test_a_policy_that_does_not_fit_leaves_the_one_before(disk: Path) -> None:
    path = disk / "policy.json"
    first, second = AugNet.from_ops(["rotation"], 0.3), AugNet.from_ops(["rotation"], 0.7)
    save_policy(first, path)
    fill(disk, leave=4)  # a page: the first of the two files fits, the second does not
    with pytest.raises(OSError, match="No space left"):
        save_policy(second, path)
    assert load_policy(path).describe() == first.describe()
    assert {one.name for one in disk.iterdir()} == {"policy.json", "policy.safetensors", "filler"}


def test_a_picture_that_does_not_fit_leaves_the_one_before(disk: Path) -> None:
    path = disk / "ranges.png"
    save_figure(matplotlib.figure.Figure(figsize=(1, 1)), path)
    fill(disk)
    with pytest.raises(OSError, match="No space left"):
        save_figure(matplotlib.figure.Figure(figsize=(3, 1)), path)
    with Image.open(path) as picture:
        assert picture.convert("L").size == (130, 130)


# The table of metrics


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def log(logger: CSVLogger, *metrics: dict[str, Any]) -> None:
    for values in metrics:
        logger.log_metrics(values, step=int(values["step"]))
    logger.save()


def test_the_table_is_that_of_lightning(tmp_path: Path) -> None:
    written = [
        ({"a": 1.0, "step": 1}, {"a": 2.0, "step": 2}),
        ({"b, with a comma": 0.1, "step": 2},),
        ({"a": 3.0, "step": 3},),
        ({"a": 4.0, "c": float("nan"), "step": 4}, {"step": 5}),
    ]
    for name, kind in (("own", AtomicCSVLogger), ("lightning", CSVLogger)):
        logger = kind(tmp_path, name=name, version="")
        logger.save()
        for metrics in written:
            log(logger, *metrics)
        logger.finalize("success")
    own, lightning = (tmp_path / name / "metrics.csv" for name in ("own", "lightning"))
    assert rows(own) == rows(lightning)
    assert len(rows(own)) == 6
    assert own.read_text().splitlines()[0] == lightning.read_text().splitlines()[0]


@pytest.mark.parametrize("later", [{"a": 2.0, "step": 1}, {"b": 2.0, "step": 1}], ids=["more rows", "a new column"])
def test_rows_that_do_not_fit_leave_the_table(later: dict[str, float], disk: Path) -> None:
    logger = AtomicCSVLogger(disk, name="", version="", flush_logs_every_n_steps=10_000)
    log(logger, {"a": 1.0, "step": 0})
    before = (disk / "metrics.csv").read_bytes()
    fill(disk)
    many = [{**later, "step": step} for step in range(1, 500)]
    with pytest.raises(OSError, match="No space left") as caught:
        log(logger, *many)
    assert caught.value.filename == str(disk / "metrics.csv")
    assert (disk / "metrics.csv").read_bytes() == before
    logger.finalize("failed")  # why the run failed is known already
    with pytest.raises(OSError, match="No space left"):
        logger.finalize("success")
    assert (disk / "metrics.csv").read_bytes() == before
    (disk / "filler").unlink()
    logger.save()
    assert [int(row["step"]) for row in rows(disk / "metrics.csv")] == list(range(500))
    assert rows(disk / "metrics.csv")[0]["a"] == "1.0"


# Whole runs


def stopped(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end for want of space; its message."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1
    message: str = capsys.readouterr().err
    assert "Traceback" not in message
    return message[message.index("error: ") :]


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])


@pytest.mark.slow
@pytest.mark.parametrize(("leave", "file"), [(0, "policy.safetensors"), (100, "checkpoints/last.ckpt")])
def test_a_run_whose_disk_is_full_stops_and_goes_on_later(
    leave: int, file: str, uninterrupted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", kilobytes=2048) as disk:
        killer = with_callback("FillDisk", step=STEPS + 5, folder=disk, leave=leave)
        message = stopped(tiny(disk, "--run.test=false", *killer), capsys)
        run = disk / "digits"
        assert message.startswith(
            f"error: There is no space left to write {run / file} (No space left on device): make"
        )
        checkpoint = run / "checkpoints" / "last.ckpt"
        assert f"The latest checkpoint is intact: {checkpoint}" in message
        assert steps_of(checkpoint) == STEPS
        load_policy(run / "policy.json")
        assert all(row["step"] for row in rows(run / "metrics.csv"))
        assert not list(run.rglob(".*"))
        (disk / "filler").unlink()
        main([*command_in(message), "--trainer.callbacks=[]"])
        same(end_of(disk / "digits-2" / "checkpoints" / "last.ckpt"), uninterrupted)


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", kilobytes=256) as disk:  # less than a checkpoint
        message = stopped(tiny(disk), capsys)
        assert "last.ckpt" in message
        assert "No checkpoint had been saved yet." in message
        fill(disk)
        assert "There is no space left" in stopped(tiny(disk), capsys)


@pytest.mark.slow
def test_the_process_ends_although_nothing_can_be_logged(tmp_path: Path) -> None:
    """W&B writes in a process of its own, on the same disk."""
    with small_disk(tmp_path / "disk", kilobytes=4096) as disk:
        killer = with_callback("FillDisk", step=STEPS + 5, folder=disk)
        process = start(*tiny(disk, "--run.wandb=offline", *killer, epochs=50), start_new_session=True)
        _, message = process.communicate(timeout=300)
        assert process.returncode == 1
        assert "error: There is no space left" in message
        assert steps_of(disk / "digits" / "checkpoints" / "last.ckpt") == STEPS
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("name", WAYS)
def test_other_peoples_trainers(name: str, tmp_path: Path, disk: Path) -> None:
    """The exception is the plain one of Python, with a note; the checkpoint before it goes on."""

    def fit(*callbacks: Any, ckpt_path: Path | None = None) -> Any:
        way = WAYS[name]()
        kept = ModelCheckpoint(dirpath=disk, filename="last", enable_version_counter=False)
        checkpointing: dict[str, Any] = {"enable_checkpointing": True, "plugins": [AtomicCheckpointIO()]}
        way.fit(tmp_path, *callbacks, ExactResume(), kept, SafeStop(), ckpt_path=ckpt_path, **checkpointing)
        return way

    whole = fit()
    with pytest.raises(OSError, match="No space left") as caught:
        fit(FillDisk(6, str(disk)))
    assert "The latest checkpoint is intact" in caught.value.__notes__[0]
    assert steps_of(disk / "last.ckpt") == 4
    (disk / "filler").unlink()
    resumed = fit(ckpt_path=disk / "last.ckpt")
    for key, value in whole.state().items():
        assert torch.equal(resumed.state()[key], value), key
