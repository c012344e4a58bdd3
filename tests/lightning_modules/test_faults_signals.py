"""Ctrl-C and SIGTERM, sent for real: the run stops after its step, and nothing is lost."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import write_image_folder
from killer import SignalAt
from pytorch_lightning.callbacks import ModelCheckpoint
from test_exact_resume import same
from tiny_runs import STEPS, command_in, end_of, start, steps_of, tiny, with_callback
from two_ways import WAYS

from lightning_modules.callbacks import ExactResume, SafeStop
from lightning_modules.callbacks.interruption import Interrupted
from lightning_modules.commands.cli import main

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Handlers of this process, the same before and after; a command line without arguments of its own."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    old = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where Ctrl-C is ignored
    before = [signal.getsignal(number) for number in CODES]
    yield
    assert [signal.getsignal(number) for number in CODES] == before
    signal.signal(signal.SIGINT, old)


def interrupted(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 130) -> str:
    """Run a command that must be interrupted; its message."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == code
    text: str = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def was_tested(folder: Path) -> bool:
    metrics = folder / "metrics.csv"
    return metrics.exists() and "test/acc" in metrics.read_text()


# The process


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An image folder of noise."""
    for split, count in (("train", 20), ("test", 4)):
        write_image_folder(tmp_path / "photos" / split, {"cat": count, "dog": count}, seed=count, size=(32, 32))
    return tmp_path / "photos"


@pytest.mark.slow
def test_the_process_stops_cleanly(tmp_path: Path, photos: Path) -> None:
    """One gets SIGTERM; one SIGINT with the workers of its loader, as from a terminal: they ignore it, and are ended.

    A third gets SIGINT while its libraries load.
    """
    data = [f"--data.path={photos}", "--data.memory_limit=0", "--data.num_workers=2", "--run.name=digits"]
    sizes = ["--data.influence_size=8", "--data.val_size=4", "--data.batch_size=8", "--run.wandb=offline"]
    network = ["--model.model=lightning_modules.classifier.models.SmallConvNet", "--run.compare=[plain]"]
    group = with_callback("SignalAt", step=3, group="true")
    terminal = start(
        *tiny(tmp_path / "terminal", *data, *sizes, *network, *group, config="cifar10"), start_new_session=True
    )
    kill = with_callback("SignalAt", step=9, number=int(signal.SIGTERM))
    alone = start(*tiny(tmp_path / "alone", "--run.compare=[plain]", *kill))
    early = start(*tiny(tmp_path / "early"))

    loaded = Path(f"/proc/{early.pid}/maps")
    while "libtorch" not in loaded.read_text():
        time.sleep(0.01)
    early.send_signal(signal.SIGINT)
    assert early.communicate(timeout=300) == ("", "")
    assert early.returncode == -signal.SIGINT
    assert not (tmp_path / "early").exists()

    for process, number, name, steps in (
        (alone, signal.SIGTERM, "alone", 10),  # the step under way was finished
        (terminal, signal.SIGINT, "terminal", 4),
    ):
        output, message = process.communicate(timeout=300)
        assert process.returncode == CODES[number], message
        assert "Traceback" not in message
        assert f"Interrupted by {number.name}. The latest checkpoint is intact: " in message
        run = tmp_path / name / "digits"
        assert steps_of(run / "checkpoints" / "last.ckpt") == steps
        assert not was_tested(run)
        assert {"summary.json", "plain"}.isdisjoint(path.name for path in run.iterdir())
        assert "Test accuracy" not in output
    with pytest.raises(ProcessLookupError):
        os.killpg(terminal.pid, 0)  # no worker is left


# The checkpoint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hook", "step", "saved"),
    [
        ("on_train_batch_start", 7, 8),
        ("on_before_optimizer_step", STEPS + 9, STEPS + 10),
        ("on_train_batch_start", STEPS - 1, STEPS),  # the last of an epoch: the run stops after the epoch
        ("on_validation_batch_start", STEPS, STEPS),
        ("on_train_epoch_end", 2 * STEPS, 2 * STEPS),  # nothing is left but the test
    ],
)
def test_a_resumed_run_ends_like_one_that_was_not_interrupted(
    hook: str, step: int, saved: int, uninterrupted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killer = with_callback("SignalAt", step=step, hook=hook)
    message = interrupted(tiny(tmp_path, "--run.test=false", *killer), capsys)
    last = tmp_path / "digits" / "checkpoints" / "last.ckpt"
    assert steps_of(last) == saved
    assert sorted(path.name for path in last.parent.iterdir()) == ["last.ckpt"]
    assert not was_tested(tmp_path / "digits")
    again = command_in(message)
    main([*again, f"--trainer.callbacks={[]}"])  # as told, without what interrupted it
    end = tmp_path / "digits-2" / "checkpoints" / "last.ckpt"
    same(end_of(end if end.exists() else last), uninterrupted)


@pytest.mark.slow
def test_the_second_signal_stops_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killer = with_callback("SignalAt", step=STEPS + 9, times=2, number=int(signal.SIGTERM))
    message = interrupted(tiny(tmp_path, *killer), capsys, code=143)
    assert steps_of(tmp_path / "digits" / "checkpoints" / "last.ckpt") == STEPS  # of the epoch before
    assert "The latest checkpoint is intact" in message


@pytest.mark.slow
def test_before_the_first_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = interrupted(tiny(tmp_path, *with_callback("SignalAt", step=2, times=2)), capsys)
    assert "No checkpoint had been saved yet." in message
    message = interrupted(tiny(tmp_path, *with_callback("SignalAt", step=0, hook="on_fit_start")), capsys)
    assert "No checkpoint had been saved yet." in message


# Around the training


@pytest.mark.slow
def test_while_testing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killer = with_callback("SignalAt", step=0, hook="on_test_batch_start")
    message = interrupted(tiny(tmp_path, *killer, epochs=1), capsys)
    assert not (tmp_path / "digits" / "summary.json").exists()
    main([*command_in(message), "--trainer.callbacks=[]"])
    assert (tmp_path / "digits-2" / "summary.json").exists()


@pytest.mark.slow
def test_while_a_control_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The callback counts its own steps: the second run of the process is the control."""
    killer = with_callback("SecondRun", step=4)
    message = interrupted(tiny(tmp_path, "--run.compare=[plain,uniform]", *killer, epochs=1), capsys)
    run = tmp_path / "digits"
    assert steps_of(run / "checkpoints" / "last.ckpt") == STEPS
    assert steps_of(run / "plain" / "checkpoints" / "last.ckpt") == 5
    assert not (run / "uniform").exists()
    assert not (run / "summary.json").exists()
    cli = main([*command_in(message), "--trainer.callbacks=[]"])
    assert cli.model.control == "plain"
    assert [arm.name for arm in cli.arms] == ["plain"]


def test_ctrl_c_between_the_parts_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning_modules.commands.run_setup._loggers", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    assert interrupted(tiny(tmp_path), capsys) == "Interrupted by SIGINT.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_signal_that_was_ignored_before_stays_ignored(tmp_path: Path) -> None:
    """As after nohup, and in the background of a shell script."""
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        main(tiny(tmp_path, *with_callback("SignalAt", step=3), epochs=1))
    finally:
        signal.signal(signal.SIGINT, old)
    assert (tmp_path / "digits" / "summary.json").exists()


# For trainers of other people


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_the_callback_in_somebody_elses_script(name: str, tmp_path: Path) -> None:
    def fit(*callbacks: Any, ckpt_path: Path | None = None) -> Any:
        way = WAYS[name]()
        kept = ModelCheckpoint(dirpath=tmp_path / "checkpoints", save_last=True, save_top_k=0)
        way.fit(tmp_path, *callbacks, ExactResume(), kept, SafeStop(), enable_checkpointing=True, ckpt_path=ckpt_path)
        return way

    whole = fit()
    (tmp_path / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(Interrupted) as caught:
        fit(SignalAt(6))
    assert caught.value.code == 130
    assert steps_of(tmp_path / "checkpoints" / "last.ckpt") == 7
    resumed = fit(ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    for key, value in whole.state().items():
        assert torch.equal(resumed.state()[key], value), key
    assert resumed.learner.updates == whole.learner.updates
