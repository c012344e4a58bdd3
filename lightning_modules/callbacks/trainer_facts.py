"""Facts about a trainer and its module that Lightning has no name for."""

import sys
from typing import TYPE_CHECKING

import pytorch_lightning as pl
from torch import nn

if TYPE_CHECKING:
    from lightning_modules.data.influence_data_module import InfluenceDataModule

_HOME = "lightning_modules.data.influence_data_module"


def influence_data(trainer: pl.Trainer) -> "InfluenceDataModule | None":
    """Return the data module of a trainer if it is an `InfluenceDataModule`, else None.

    Nothing can be one as long as its module is not loaded, and loading it takes seconds.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    own = _HOME in sys.modules and isinstance(data, sys.modules[_HOME].InfluenceDataModule)
    return data if own else None


def measures_batch_statistics(trainer: pl.Trainer) -> bool:
    """Return True if steps leave the classifier as it is: in the pass in which SWA measures its batch statistics."""
    return bool(getattr(trainer.fit_loop, "_skip_backward", False))


def part_of(module: pl.LightningModule, name: str | None) -> nn.Module:
    """The part of a module that is called so, ValueError if there is none; the module itself for None."""
    found = module if name is None else getattr(module, name, None)
    if not isinstance(found, nn.Module):
        parts = ", ".join(child for child, _ in module.named_children())
        raise ValueError(f"classifier: {type(module).__name__} has no module {name!r}; it has {parts}.")
    return found
