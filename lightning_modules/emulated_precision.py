"""Arithmetic that a processor does not have, and emulates slowly."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn

_WITHOUT_BF16 = ("DEFAULT", "AVX2")  # what torch calls processors without AVX-512 or its like


def warn_of_emulated_precision(trainer: pl.Trainer) -> None:
    """Warn that bfloat16 is slower than float32 on a processor that has to emulate it."""
    processor = torch.backends.cpu.get_cpu_capability()
    emulated = trainer.strategy.root_device.type == "cpu" and processor in _WITHOUT_BF16
    if emulated and trainer.precision == "bf16-mixed":
        rank_zero_warn(
            f"trainer.precision is bf16-mixed, which this processor ({processor}) has to emulate: training may take "
            "several times as long as with trainer.precision: 32-true."
        )
