"""The product's own data module, as callbacks see it, without loading its libraries for anybody else's data."""

import sys
from typing import TYPE_CHECKING

import pytorch_lightning as pl

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
