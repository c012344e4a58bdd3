import warnings
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from lightning_modules.commands.run_setup import warn_of_emulated_precision


def trainer(precision: Any) -> pl.Trainer:
    return pl.Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)


def test_bf16_on_a_processor_without_it_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.warns(UserWarning, match=r"this processor \(AVX2\) has to emulate.*trainer\.precision: 32-true"):
        warn_of_emulated_precision(trainer("bf16-mixed"))


@pytest.mark.parametrize(("processor", "precision"), [("AVX512", "bf16-mixed"), ("AVX2", "32-true")])
def test_what_is_fast_is_not_warned_of(processor: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_emulated_precision(trainer(precision))
