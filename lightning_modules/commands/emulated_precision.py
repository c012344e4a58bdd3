"""Warning about precisions that the processor emulates slowly."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn

_WITHOUT_BF16 = ("DEFAULT", "AVX2")  # torch's names of processors without AVX-512 or similar


def bf16_is_emulated() -> bool:
    """Return True if this processor has no arithmetic for bfloat16."""
    return torch.backends.cpu.get_cpu_capability() in _WITHOUT_BF16


def warn_of_emulated_precision(trainer: pl.Trainer) -> None:
    """Warn if a run uses bfloat16 on a processor that emulates it."""
    processor = torch.backends.cpu.get_cpu_capability()
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and trainer.precision == "bf16-mixed" and bf16_is_emulated():
        rank_zero_warn(
            f"trainer.precision is bf16-mixed, which this processor ({processor}) has to emulate: training may take "
            "several times as long as with trainer.precision: 32-true."
        )
